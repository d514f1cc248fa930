/* etcdserverpb.Auth.
 *
 * Most methods are a question to the node. Three take the processor for long, and go by way of a helper:
 *
 *     UserAdd, UserChangePassword   password ─▶ helper: hash ─▶ node, with the hash instead of the password
 *     Authenticate   node: the user's hash ─▶ helper: compare ─▶ node: a login ─┬─▶ reply
 *                      ▲                                             │          └─▶ helper: sign ─▶ reply
 *                      └──── users or roles changed in between ──────┘
 *
 * The password stays on this member: it is neither proposed nor logged, and its memory is wiped. */
#include "server/service.h"

#include "api/message.h"
#include "base/container.h"
#include "base/text.h"
#include "base/wire.h"
#include "server/helper_pool.h"
#include "server/identity.h"
#include "server/password.h"
#include "server/rpc.h"
#include "server/token_provider.h"

#include <assert.h>
#include <openssl/crypto.h>

#include "raft_internal.pb-c.h"
#include "rpc.pb-c.h"

#define SERVICE "etcdserverpb.Auth"

enum { RESPONSE_TOKEN = 2 };

/* One of the long calls, in its call's arena. */
struct auth_call {
    struct service_context *service;
    struct grpc_call *call; /* a reference, while something is under way */
    struct rpc rpc;
    bool asking; /* the node has the rpc */
    struct helper_job job;
    char *password;    /* wiped when it is needed no more */
    struct buf hash;   /* made, or to be compared with */
    bool is_good;      /* what the helper found */
    bool is_decoy;     /* there is no such user, which must not show by how fast that is told */
    uint64_t revision; /* of the users and roles when the hash was looked up */
    struct blob *response;
    struct buf token; /* signed */
    union {
        Etcdserverpb__AuthenticateRequest *login; /* without the password */
        Etcdserverpb__AuthUserAddRequest *user_add;
        Etcdserverpb__AuthUserChangePasswordRequest *change;
    };
    Etcdserverpb__InternalAuthenticateRequest confirmed;
    /* What comes after the step that is under way. */
    void (*answered)(struct auth_call *auth);
    void (*run)(struct auth_call *auth); /* on a helper's thread */
    void (*helped)(struct auth_call *auth);
};

static void wipe_text(char *text)
{
    if (text != NULL && text != protobuf_c_empty_string) OPENSSL_cleanse(text, strlen(text));
}

static struct auth_call *begin(struct grpc_call *call, char *password)
{
    struct auth_call *auth = arena_zalloc(grpc_call_arena(call), sizeof(*auth));
    auth->service = grpc_call_server_context(call);
    auth->call = grpc_call_ref(call);
    auth->password = password;
    grpc_call_set_context(call, auth);
    return auth;
}

/* Nothing is under way any more. */
static void end(struct auth_call *auth)
{
    wipe_text(auth->password);
    if (auth->hash.data != NULL) OPENSSL_cleanse(auth->hash.data, auth->hash.size);
    buf_deinit(&auth->hash);
    buf_deinit(&auth->token);
    blob_unref(auth->response);
    grpc_call_unref(auth->call);
}

static void refuse(struct auth_call *auth, enum api_error error)
{
    grpc_call_finish(auth->call, api_error_code(error), bytes_from_string(api_error_text(error)));
    end(auth);
}

static void refuse_as_told(struct auth_call *auth)
{
    const struct node_request *request = &auth->rpc.request;
    grpc_call_finish(auth->call, rpc_code(request), bytes_from_string(rpc_text(request)));
    end(auth);
}

/* ---- steps ---- */

static bool succeeded(const struct auth_call *auth)
{
    return auth->rpc.request.error == API_OK && auth->rpc.request.error_text == NULL;
}

static void on_answer(struct rpc *rpc)
{
    struct auth_call *auth = CONTAINER(rpc, struct auth_call, rpc);
    auth->asking = false;
    auth->answered(auth);
}

/* The node is asked, and `answered` goes on. */
static void ask(struct auth_call *auth, enum node_operation operation, const ProtobufCMessage *message,
                void (*answered)(struct auth_call *auth))
{
    struct arena *arena = grpc_call_arena(auth->call);
    struct buf raw = {0};
    message_pack(&raw, message);
    auth->rpc = (struct rpc){.loop = grpc_call_loop(auth->call), .done = on_answer};
    auth->rpc.request.operation = operation;
    auth->rpc.request.message = message;
    auth->rpc.request.raw = arena_copy(arena, buf_bytes(&raw));
    identity_of_call(auth->call, arena, &auth->rpc.request.identity);
    buf_deinit(&raw);
    auth->answered = answered;
    auth->asking = true;
    rpc_start(&auth->rpc, auth->service->engine);
}

static void run_job(struct helper_job *job)
{
    struct auth_call *auth = CONTAINER(job, struct auth_call, job);
    auth->run(auth);
}

static void on_helped(struct helper_job *job)
{
    struct auth_call *auth = CONTAINER(job, struct auth_call, job);
    if (grpc_call_is_live(auth->call))
        auth->helped(auth);
    else
        end(auth);
}

/* A helper does `run`, and `helped` goes on. */
static void help(struct auth_call *auth, void (*run)(struct auth_call *auth),
                 void (*helped)(struct auth_call *auth))
{
    auth->run = run;
    auth->helped = helped;
    auth->job = (struct helper_job){.run = run_job, .done = on_helped, .loop = grpc_call_loop(auth->call)};
    if (!helper_pool_run(auth->service->helpers, &auth->job)) refuse(auth, API_ERROR_TOO_MANY_REQUESTS);
}

static void on_cancel(struct grpc_call *call)
{
    struct auth_call *auth = grpc_call_context(call);
    if (auth != NULL && auth->asking && !auth->rpc.delivered) rpc_cancel(&auth->rpc);
}

static void reply(struct auth_call *auth)
{
    if (!succeeded(auth)) {
        refuse_as_told(auth);
        return;
    }
    grpc_call_reply(auth->call, auth->rpc.request.response);
    end(auth);
}

/* ---- UserAdd, UserChangePassword ---- */

static void hash_password(struct auth_call *auth)
{
    auth->is_good = password_hash(bytes_from_string(auth->password), auth->service->bcrypt_cost, &auth->hash);
}

/* The hash as text in the request, where the password was. */
static bool take_hash(struct auth_call *auth, char **password, char **hashed)
{
    struct buf text = {0};
    if (!auth->is_good) {
        grpc_call_finish(auth->call, GRPC_UNKNOWN, BYTES_LITERAL(PASSWORD_TOO_LONG));
        end(auth);
        return false;
    }
    wipe_text(auth->password);
    auth->password = NULL;
    *password = (char *)(uintptr_t)protobuf_c_empty_string;
    text_base64(&text, buf_bytes(&auth->hash));
    *hashed = arena_string(grpc_call_arena(auth->call), buf_bytes(&text));
    buf_deinit(&text);
    return true;
}

static void user_add_hashed(struct auth_call *auth)
{
    Etcdserverpb__AuthUserAddRequest *request = auth->user_add;
    if (take_hash(auth, &request->password, &request->hashedpassword))
        ask(auth, NODE_USER_ADD, &request->base, reply);
}

static void user_add_message(struct grpc_call *call, struct bytes message)
{
    Etcdserverpb__AuthUserAddRequest *request =
        service_decode(call, &etcdserverpb__auth_user_add_request__descriptor, message);
    if (request == NULL) return;
    struct auth_call *auth = begin(call, request->password);
    auth->user_add = request;
    if (request->options != NULL && request->options->no_password)
        ask(auth, NODE_USER_ADD, &request->base, reply);
    else
        help(auth, hash_password, user_add_hashed);
}

static void password_hashed(struct auth_call *auth)
{
    Etcdserverpb__AuthUserChangePasswordRequest *request = auth->change;
    if (take_hash(auth, &request->password, &request->hashedpassword))
        ask(auth, NODE_USER_CHANGE_PASSWORD, &request->base, reply);
}

static void change_password_message(struct grpc_call *call, struct bytes message)
{
    Etcdserverpb__AuthUserChangePasswordRequest *request =
        service_decode(call, &etcdserverpb__auth_user_change_password_request__descriptor, message);
    if (request == NULL) return;
    struct auth_call *auth = begin(call, request->password);
    auth->change = request;
    if (*request->password == '\0')
        ask(auth, NODE_USER_CHANGE_PASSWORD, &request->base, reply); /* none is usable from now on */
    else
        help(auth, hash_password, password_hashed);
}

/* ---- Authenticate ---- */

static void look_up(struct auth_call *auth);

static void reply_with_token(struct auth_call *auth)
{
    struct buf response = {0};
    if (!auth->is_good) {
        grpc_call_finish(auth->call, GRPC_UNKNOWN, BYTES_LITERAL(JWT_VERIFY_ONLY));
        end(auth);
        return;
    }
    buf_append_bytes(&response, blob_bytes(auth->response));
    wire_bytes_field(&response, RESPONSE_TOKEN, buf_bytes(&auth->token));
    grpc_call_reply(auth->call, blob_from(buf_bytes(&response)));
    buf_deinit(&response);
    end(auth);
}

static void sign_token(struct auth_call *auth)
{
    const struct jwt_claims claims = {.user = bytes_from_string(auth->login->name),
                                      .revision = auth->revision};
    auth->is_good = jwt_sign(auth->service->tokens->jwt, &claims, clock_wall() / LOOP_SECOND, &auth->token);
}

/* The login is applied. If users or roles have changed since the password was looked up, it may be the wrong
 * one by now. */
static void logged_in(struct auth_call *auth)
{
    const struct token_provider *tokens = auth->service->tokens;
    if (!succeeded(auth)) {
        refuse_as_told(auth);
        return;
    }
    auth->response = auth->rpc.request.response;
    if (auth->revision != auth->rpc.request.auth_revision) {
        log_info(auth->service->logger, "revision when password checked became stale; retrying");
        blob_unref(auth->response);
        auth->response = NULL;
        look_up(auth);
    } else if (tokens->kind == TOKEN_SIMPLE) {
        grpc_call_reply(auth->call, blob_ref(auth->response));
        end(auth);
    } else {
        help(auth, sign_token, reply_with_token);
    }
}

static void compare_password(struct auth_call *auth)
{
    if (auth->is_decoy) password_waste_time(auth->service->bcrypt_cost);
    auth->is_good =
        !auth->is_decoy && password_matches(bytes_from_string(auth->password), buf_bytes(&auth->hash));
}

static void warn_of_login(const struct auth_call *auth, enum api_error error)
{
    log_warn(auth->service->logger, "invalid authentication was requested",
             LOG_STRING("user", auth->login->name), LOG_STRING("error", api_error_text(error)));
}

static void password_compared(struct auth_call *auth)
{
    struct buf prefix = {0};
    if (!auth->is_good || auth->service->tokens->kind == TOKEN_NONE) {
        warn_of_login(auth, API_ERROR_AUTH_FAILED);
        refuse(auth, API_ERROR_AUTH_FAILED);
        return;
    }
    if (auth->service->tokens->kind == TOKEN_SIMPLE) password_token_prefix(&prefix);
    etcdserverpb__internal_authenticate_request__init(&auth->confirmed);
    auth->confirmed.name = auth->login->name;
    auth->confirmed.simple_token = arena_string(grpc_call_arena(auth->call), buf_bytes(&prefix));
    buf_deinit(&prefix);
    ask(auth, NODE_AUTHENTICATE, &auth->confirmed.base, logged_in);
}

static void looked_up(struct auth_call *auth)
{
    const struct node_request *request = &auth->rpc.request;
    auth->is_decoy = request->error == API_ERROR_AUTH_FAILED;
    if (!succeeded(auth) && !auth->is_decoy) {
        if (request->error == API_ERROR_NO_PASSWORD_USER) warn_of_login(auth, request->error);
        refuse_as_told(auth);
        return;
    }
    buf_clear(&auth->hash);
    buf_append_bytes(&auth->hash, blob_bytes(request->response));
    blob_unref(request->response);
    auth->revision = request->auth_revision;
    help(auth, compare_password, password_compared);
}

static void look_up(struct auth_call *auth)
{
    ask(auth, NODE_AUTH_PASSWORD, &auth->login->base, looked_up);
}

static void authenticate_message(struct grpc_call *call, struct bytes message)
{
    Etcdserverpb__AuthenticateRequest *request =
        service_decode(call, &etcdserverpb__authenticate_request__descriptor, message);
    if (request == NULL) return;
    struct auth_call *auth = begin(call, request->password);
    auth->login = request;
    /* The node is not told the password. */
    request->password = (char *)(uintptr_t)protobuf_c_empty_string;
    look_up(auth);
}

/* ---- the table ---- */

#define AUTH(name, operation, descriptor) SERVICE_UNARY(SERVICE, name, operation, descriptor)
#define AUTH_LONG(name_, on_message_)                                                                        \
    (&(const struct grpc_method){.service = SERVICE,                                                         \
                                 .name = (name_),                                                            \
                                 .kind = GRPC_UNARY,                                                         \
                                 .on_message = (on_message_),                                                \
                                 .on_cancel = on_cancel})

const struct grpc_method *const service_auth_methods[] = {
    AUTH("AuthEnable", NODE_AUTH_ENABLE, etcdserverpb__auth_enable_request__descriptor),
    AUTH("AuthDisable", NODE_AUTH_DISABLE, etcdserverpb__auth_disable_request__descriptor),
    AUTH("AuthStatus", NODE_AUTH_STATUS, etcdserverpb__auth_status_request__descriptor),
    AUTH_LONG("Authenticate", authenticate_message),
    AUTH_LONG("UserAdd", user_add_message),
    AUTH("UserGet", NODE_USER_GET, etcdserverpb__auth_user_get_request__descriptor),
    AUTH("UserList", NODE_USER_LIST, etcdserverpb__auth_user_list_request__descriptor),
    AUTH("UserDelete", NODE_USER_DELETE, etcdserverpb__auth_user_delete_request__descriptor),
    AUTH_LONG("UserChangePassword", change_password_message),
    AUTH("UserGrantRole", NODE_USER_GRANT_ROLE, etcdserverpb__auth_user_grant_role_request__descriptor),
    AUTH("UserRevokeRole", NODE_USER_REVOKE_ROLE, etcdserverpb__auth_user_revoke_role_request__descriptor),
    AUTH("RoleAdd", NODE_ROLE_ADD, etcdserverpb__auth_role_add_request__descriptor),
    AUTH("RoleGet", NODE_ROLE_GET, etcdserverpb__auth_role_get_request__descriptor),
    AUTH("RoleList", NODE_ROLE_LIST, etcdserverpb__auth_role_list_request__descriptor),
    AUTH("RoleDelete", NODE_ROLE_DELETE, etcdserverpb__auth_role_delete_request__descriptor),
    AUTH("RoleGrantPermission", NODE_ROLE_GRANT_PERMISSION,
         etcdserverpb__auth_role_grant_permission_request__descriptor),
    AUTH("RoleRevokePermission", NODE_ROLE_REVOKE_PERMISSION,
         etcdserverpb__auth_role_revoke_permission_request__descriptor),
    NULL,
};
