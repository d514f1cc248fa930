/* Asking all other members for a hash: GET /members/hashkv, all at once, each at one of its addresses after
 * the other until one answers. Whoever cannot be asked is silent; one that leaves the cluster meanwhile, too.
 */
#include "server/peer_internal.h"

#include "base/container.h"
#include "cluster/json_reader.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

enum { ANSWER_MAX = 4096 };

struct hash_question {
    struct peer_hash_round *round;
    struct corruption_answer *answer;
    struct http1_client *client;
    size_t url;
};

struct peer_hash_round {
    struct peers *peers;
    int64_t revision;
    int64_t deadline;
    peers_hashes_done *done;
    void *context;
    size_t waiting; /* questions without an answer, and the round itself while it is being begun */
    size_t count;
    struct hash_question questions[CLUSTER_MEMBERS_MAX];
    struct corruption_answer answers[CLUSTER_MEMBERS_MAX];
};

static void ask(struct hash_question *question);

/* ---- ends ---- */

static void finish_one(struct peer_hash_round *round)
{
    if (--round->waiting > 0) return;
    round->peers->hash_round = NULL;
    for (size_t i = 0; i < round->count; i++) http1_client_free(round->questions[i].client);
    round->done(round->context, round->answers, round->count);
    free(round);
}

static void try_next(struct hash_question *question)
{
    question->url++;
    ask(question);
}

/* ---- answers ---- */

static void read_header(struct json_reader *reader, int64_t *revision)
{
    struct buf key = {0};
    if (json_enter(reader, '{'))
        while (json_next_key(reader, &key)) {
            if (bytes_equal(buf_bytes(&key), BYTES_LITERAL("revision")))
                json_read_int64(reader, revision);
            else
                json_skip(reader);
        }
    buf_deinit(&key);
}

/* Zeros are left out. */
static bool parse_answer(struct bytes body, struct corruption_hash *hash)
{
    struct json_reader reader = json_reader_of(body);
    struct buf key = {0};
    int64_t value = 0;
    if (json_enter(&reader, '{'))
        while (json_next_key(&reader, &key)) {
            if (bytes_equal(buf_bytes(&key), BYTES_LITERAL("header"))) {
                read_header(&reader, &hash->current_revision);
            } else if (bytes_equal(buf_bytes(&key), BYTES_LITERAL("hash"))) {
                json_read_int64(&reader, &value);
            } else if (bytes_equal(buf_bytes(&key), BYTES_LITERAL("compact_revision"))) {
                json_read_int64(&reader, &hash->compact_revision);
            } else {
                json_skip(&reader);
            }
        }
    buf_deinit(&key);
    hash->hash = (uint32_t)value;
    return !reader.failed && value >= 0 && value <= UINT32_MAX;
}

static bool has(struct bytes body, const char *text)
{
    return body.size > 0 && memmem(body.data, body.size, text, strlen(text)) != NULL;
}

/* False: another address may know more. */
static bool take_answer(struct hash_question *question, int status, struct bytes body)
{
    struct corruption_answer *answer = question->answer;
    answer->hash = (struct corruption_hash){.revision = question->round->revision};
    if (status == 200 && parse_answer(body, &answer->hash))
        answer->reply = CORRUPTION_ANSWERED;
    else if (status == 412)
        answer->reply = CORRUPTION_OTHER_CLUSTER;
    else if (has(body, "mvcc: required revision has been compacted"))
        answer->reply = CORRUPTION_HAS_COMPACTED;
    else if (has(body, "mvcc: required revision is a future revision"))
        answer->reply = CORRUPTION_IS_BEHIND;
    return answer->reply != CORRUPTION_SILENT;
}

static void on_done(struct http1_client_request *request, const struct error *error)
{
    struct hash_question *question = http1_client_request_context(request);
    if (error == NULL &&
        take_answer(question, http1_client_request_status(request), http1_client_request_body(request)))
        finish_one(question->round);
    else
        try_next(question);
}

static const struct http1_client_handler handler = {.on_done = on_done};

/* ---- questions ---- */

static void send_question(struct hash_question *question, struct peer *peer)
{
    struct http_header headers[PEER_HEADERS_MAX + 1];
    size_t count = peer_headers(peer, headers);
    struct buf body = {0};
    headers[count++] = (struct http_header){.name = BYTES_LITERAL("Content-Type"),
                                            .value = BYTES_LITERAL("application/json")};
    buf_printf(&body, "{\"revision\":%" PRId64 "}", question->round->revision);
    struct http1_client_options options = {
        .method = "GET",
        .target = "/members/hashkv",
        .headers = headers,
        .header_count = count,
        .body = buf_bytes(&body),
        .deadline = question->round->deadline,
        .gather_limit = ANSWER_MAX,
        .handler = &handler,
        .context = question,
    };
    http1_client_request(question->client, &options);
    buf_deinit(&body);
}

static void ask(struct hash_question *question)
{
    struct peers *peers = question->round->peers;
    struct peer *peer = peers->closed ? NULL : peers_find(peers, question->answer->member_id);
    bool is_late = clock_monotonic() >= question->round->deadline;
    http1_client_free(question->client);
    question->client = NULL;
    while (!is_late && peer != NULL && question->url < peer->urls.count && question->client == NULL) {
        question->client = peer_client(peer, question->url);
        if (question->client == NULL) question->url++;
    }
    if (question->client == NULL)
        finish_one(question->round);
    else
        send_question(question, peer);
}

void peers_ask_hashes(struct peers *peers, int64_t revision, peers_hashes_done *done, void *context)
{
    struct peer_hash_round *round = mem_zalloc(1, sizeof(*round));
    struct peer *peer;
    assert(peers->hash_round == NULL);
    round->peers = peers;
    round->revision = revision;
    round->deadline = clock_monotonic() + peers->config.request_timeout;
    round->done = done;
    round->context = context;
    LIST_FOREACH (peer, &peers->list, link) {
        size_t i = round->count++;
        round->answers[i] = (struct corruption_answer){.member_id = peer->id, .reply = CORRUPTION_SILENT};
        round->questions[i] = (struct hash_question){.round = round, .answer = &round->answers[i]};
    }
    peers->hash_round = round;
    round->waiting = round->count + 1;
    for (size_t i = 0; i < round->count; i++) ask(&round->questions[i]);
    finish_one(round);
}

void peer_hash_close(struct peers *peers)
{
    struct peer_hash_round *round = peers->hash_round;
    if (round == NULL) return;
    round->waiting++; /* not to be gone before its last question is */
    for (size_t i = 0; i < round->count; i++) {
        struct http1_client *client = round->questions[i].client;
        round->questions[i].client = NULL;
        http1_client_free(client);
    }
    finish_one(round);
}
