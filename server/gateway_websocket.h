/* gateway_websocket: the gateway's requests over a websocket (RFC 6455), as browsers need them for streams.
 *
 * The method is as if POST; each message of the client is a piece of the body with a newline behind it, each
 * line of the answer is a message. Its end is the end of the websocket. Browsers cannot set Authorization:
 * "Sec-WebSocket-Protocol: Bearer, TOKEN", or a cookie `token`, stands for it.
 */
#ifndef SERVER_GATEWAY_WEBSOCKET_H
#define SERVER_GATEWAY_WEBSOCKET_H

#include "server/gateway_call.h"

bool gateway_wants_websocket(const struct http_exchange *exchange);
/* In on_request, for HTTP/1.1: answers the handshake and takes the connection over; or answers why not. The
 * config's carrier, context and transport are set here; its metadata has room for one more. */
void gateway_websocket_start(struct http_exchange *exchange, struct gateway_call_config *config);
/* Cuts all of a loop's (struct http_endpoints): the server ends. */
void gateway_websockets_close(struct http_endpoints *endpoints);

#endif
