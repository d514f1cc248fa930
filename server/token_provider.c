#include "server/token_provider.h"

#include "base/memory.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_TTL (300 * INT64_C(1000000000))

enum { KEYS = 4 };

/* NAME=VALUE, each name once. What is behind a second '=' etcd does not take either. */
struct settings {
    const char *method, *public_key, *private_key, *ttl;
};

static struct error *invalid(void)
{
    return error_new(ERROR_INVALID, "auth: invalid auth options");
}

static struct error *read_setting(struct settings *settings, char *pair, const struct logger *logger)
{
    const struct {
        const char *name;
        const char **value;
    } known[KEYS] = {
        {"sign-method", &settings->method},
        {"pub-key", &settings->public_key},
        {"priv-key", &settings->private_key},
        {"ttl", &settings->ttl},
    };
    char *value = strchr(pair, '=');
    if (value == NULL || strchr(value + 1, '=') != NULL) return invalid();
    *value++ = '\0';
    for (size_t i = 0; i < KEYS; i++) {
        if (strcmp(known[i].name, pair) != 0) continue;
        if (*known[i].value != NULL) return invalid();
        *known[i].value = value;
        return NULL;
    }
    log_warn(logger, "unknown JWT options", LOG_STRINGS("keys", (const char *const *)&pair, 1));
    return NULL;
}

static const char *or_empty(const char *text)
{
    return text == NULL ? "" : text;
}

static struct error *init_signed(struct token_provider *provider, char *list, const struct logger *logger)
{
    struct settings settings = {0};
    char *pair;
    struct jwt_options options = {.ttl = DEFAULT_TTL};
    while ((pair = strsep(&list, ",")) != NULL) TRY(read_setting(&settings, pair, logger));
    if (*or_empty(settings.ttl) != '\0' && !text_parse_go_duration(settings.ttl, &options.ttl, NULL))
        return invalid();
    options.method = or_empty(settings.method);
    options.public_key = or_empty(settings.public_key);
    options.private_key = or_empty(settings.private_key);
    provider->kind = TOKEN_SIGNED;
    return jwt_new(&options, &provider->jwt);
}

struct error *token_provider_init(struct token_provider *provider, const char *option,
                                  const struct logger *logger)
{
    char *copy = mem_strdup(option), *list = strchr(copy, ',');
    struct error *error = NULL;
    *provider = (struct token_provider){.kind = TOKEN_NONE};
    if (list != NULL) *list++ = '\0';
    if (strcmp(copy, "jwt") == 0) {
        error = init_signed(provider, list, logger);
    } else if (strcmp(copy, "simple") == 0) {
        provider->kind = TOKEN_SIMPLE;
        log_warn(logger, "simple token is not cryptographically signed");
    } else if (*copy != '\0') {
        log_warn(logger, "unknown token type", LOG_STRING("type", copy),
                 LOG_STRING("error", "auth: invalid auth options"));
        error = invalid();
    }
    free(copy);
    return error;
}

void token_provider_deinit(struct token_provider *provider)
{
    jwt_free(provider->jwt);
    provider->jwt = NULL;
}
