/* The server's options: sources, precedence, texts of errors, files. */
#include "server/options_internal.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { WORDS_MAX = 16 };

/* One parse, with words of flags and of the environment separated by blanks. */
struct parse {
    char words[2][1024];
    char *arguments[WORDS_MAX];
    char *environment[WORDS_MAX];
    struct options_parsed parsed;
    struct error *error;
};

static int split(char *text, char **words, int count)
{
    for (char *word; (word = strsep(&text, " ")) != NULL;)
        if (*word != '\0') words[count++] = word;
    words[count] = NULL;
    return count;
}

static void parse(struct parse *parse, const char *flags, const char *environment)
{
    *parse = (struct parse){.arguments = {(char *)(uintptr_t) "etcd"}};
    snprintf(parse->words[0], sizeof(parse->words[0]), "%s", flags);
    snprintf(parse->words[1], sizeof(parse->words[1]), "%s", environment);
    int count = split(parse->words[0], parse->arguments, 1);
    split(parse->words[1], parse->environment, 0);
    parse->error = options_parse(count, parse->arguments, parse->environment, &parse->parsed);
    if (parse->error == NULL) parse->error = options_complete(&parse->parsed);
}

static void done(struct parse *parse)
{
    error_free(parse->error);
    options_deinit(&parse->parsed);
}

static void accepts(struct parse *parse_, const char *flags, const char *environment)
{
    parse(parse_, flags, environment);
    if (parse_->error != NULL) fail_msg("%s: %s", flags, parse_->error->text);
}

static void refuses(const char *flags, const char *environment, enum options_failure failure,
                    const char *text)
{
    struct parse refused;
    parse(&refused, flags, environment);
    if (refused.error == NULL) fail_msg("%s was accepted", flags);
    assert_string_equal(refused.error->text, text);
    assert_int_equal(refused.parsed.failure, failure);
    done(&refused);
}

static bool has_note(const struct parse *parse_, const char *text)
{
    for (size_t i = 0; i < parse_->parsed.note_count; i++)
        if (strstr(parse_->parsed.notes[i].message, text) != NULL) return true;
    return false;
}

/* ---- the table ---- */

static void every_row_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        assert_ptr_equal(option_find(bytes_from_string(option->name)), option);
        if (option->use == OPTION_RENAMED || option->use == OPTION_IMPLIES) {
            const struct option *other = option_find(bytes_from_string(option->other));
            assert_non_null(other);
            assert_int_not_equal(other->use, OPTION_RENAMED);
            continue;
        }
        assert_non_null(option->initial);
        if (option->use == OPTION_GATE)
            assert_int_not_equal(options_gate_find(bytes_from_string(option->other)), OPTIONS_GATE_COUNT);
        if (option->use == OPTION_REFUSED) assert_non_null(option->text);
        if (option->type == OPTION_CHOICE) assert_non_null(option->choices);
        union option_value value;
        struct buf reason = {0};
        assert_true(option_read(option, option->initial, &value, &reason));
        assert_true(option_is_default(option, option->initial));
        buf_deinit(&reason);
    }
}

/* ---- flags ---- */

static void defaults_are_etcds(void **state)
{
    (void)state;
    struct parse p;
    accepts(&p, "", "");
    const struct options *options = &p.parsed.options;
    assert_string_equal(options->name, "default");
    assert_string_equal(options->data_dir, "default.etcd");
    assert_string_equal(options->initial_cluster, "default=http://localhost:2380");
    assert_int_equal(options->snapshot_count, 10000);
    assert_int_equal(options->backend_batch_interval, 100000000);
    assert_int_equal(options->backend_batch_limit, 10000);
    assert_int_equal(options->compaction_batch_limit, 1000);
    assert_true(options->max_concurrent_streams == UINT32_MAX);
    assert_true(options->pre_vote);
    assert_true(options->gates[GATE_FAST_LEASE_KEEP_ALIVE]);
    assert_false(options->gates[GATE_INITIAL_CORRUPT_CHECK]);
    assert_true(has_note(&p, "it isn't recommended to use default name"));
    done(&p);
}

static void flags_are_read_as_go_reads_them(void **state)
{
    (void)state;
    struct parse p;
    accepts(&p,
            "-name a --name=b --snapshot-count 0x10 --pre-vote=F --heartbeat-interval 200 "
            "--election-timeout=2000 --warning-unary-request-duration=1\xc2\xb5s --snapshot --vv=anything",
            "");
    assert_string_equal(p.parsed.options.name, "b");
    assert_int_equal(p.parsed.options.snapshot_count, 16);
    assert_false(p.parsed.options.pre_vote);
    assert_int_equal(p.parsed.options.warning_unary_request_duration, 1000);
    assert_string_equal(p.parsed.options.initial_cluster, "b=http://localhost:2380");
    done(&p);
    refuses("--enable-pprof false", "", OPTIONS_REFUSED, "\"false\" is not a valid flag");
    refuses("-- --name", "", OPTIONS_REFUSED, "\"--name\" is not a valid flag");
    refuses("--isten-client-urls=x", "", OPTIONS_USAGE, "flag provided but not defined: -isten-client-urls");
    refuses("--name", "", OPTIONS_USAGE, "flag needs an argument: -name");
    refuses("--pre-vote=yes", "", OPTIONS_USAGE, "invalid value \"yes\" for flag -pre-vote: parse error");
    refuses("--max-concurrent-streams=4294967296", "", OPTIONS_USAGE,
            "invalid value \"4294967296\" for flag -max-concurrent-streams: value out of range");
    refuses("--initial-cluster-state=old", "", OPTIONS_USAGE,
            "invalid value \"old\" for flag -initial-cluster-state: invalid value");
    refuses("--listen-peer-urls=http://127.0.0.1:1/x", "", OPTIONS_USAGE,
            "invalid value \"http://127.0.0.1:1/x\" for flag -listen-peer-urls: URL must not contain a path: "
            "http://127.0.0.1:1/x");
}

static void version_and_help_look_at_nothing_else(void **state)
{
    (void)state;
    struct parse p;
    parse(&p, "--version --config-file=/nowhere", "ETCD_HEARTBEAT_INTERVAL=x");
    assert_true(p.parsed.options.version);
    done(&p);
    parse(&p, "-h", "ETCD_NAME=x");
    assert_true(p.parsed.options.help);
    done(&p);
}

/* ---- the environment ---- */

static void the_environment_stands_in_for_flags(void **state)
{
    (void)state;
    struct parse p;
    accepts(&p, "--name=a",
            "ETCD_SNAPSHOT_COUNT=7 ETCD_DATA_DIR= ETCD_FOO=1 ETCD_VERSION=2 ETCD_VERIFY=all HOME=/");
    assert_int_equal(p.parsed.options.snapshot_count, 7);
    assert_string_equal(p.parsed.options.data_dir, "a.etcd");
    assert_true(has_note(&p, "recognized and used environment variable"));
    assert_true(has_note(&p, "unrecognized environment variable"));
    assert_true(has_note(&p, "cannot set special environment variable"));
    done(&p);
    refuses("", "ETCD_HEARTBEAT_INTERVAL=abc", OPTIONS_REFUSED,
            "invalid value \"abc\" for ETCD_HEARTBEAT_INTERVAL: parse error");
}

static void a_flag_and_a_variable_for_one_option_conflict(void **state)
{
    (void)state;
    struct parse p;
    parse(&p, "--name=a", "ETCD_NAME=");
    assert_non_null(p.error);
    assert_int_equal(p.parsed.failure, OPTIONS_CONFLICT);
    assert_string_equal(p.parsed.conflict, "ETCD_NAME");
    done(&p);
}

/* ---- earlier names ---- */

static void earlier_names_work_and_are_warned_about(void **state)
{
    (void)state;
    struct parse p;
    accepts(&p,
            "--experimental-compaction-batch-limit=10 --debug --log-output=stderr "
            "--experimental-initial-corrupt-check=true --enable-v2=true --proxy=off --max-wals=0",
            "ETCD_EXPERIMENTAL_WARNING_APPLY_DURATION=1s");
    assert_int_equal(p.parsed.options.compaction_batch_limit, 10);
    assert_int_equal(p.parsed.options.warning_apply_duration, 1000000000);
    assert_string_equal(p.parsed.options.log_level, "debug");
    assert_string_equal(p.parsed.options.log_outputs, "stderr");
    assert_true(p.parsed.options.gates[GATE_INITIAL_CORRUPT_CHECK]);
    assert_true(has_note(&p, "--experimental-compaction-batch-limit is deprecated in v3.6 and will be "
                             "decommissioned in v3.7. Use '--compaction-batch-limit' instead."));
    assert_true(has_note(&p, "--enable-v2 is ignored"));
    done(&p);
    refuses("--experimental-compaction-batch-limit=10 --compaction-batch-limit=10", "", OPTIONS_REFUSED,
            "cannot set --experimental-compaction-batch-limit and --compaction-batch-limit at the same time, "
            "please use --compaction-batch-limit only");
    refuses("--experimental-initial-corrupt-check=true --feature-gates=InitialCorruptCheck=true", "",
            OPTIONS_REFUSED,
            "cannot set --experimental-initial-corrupt-check and feature gate InitialCorruptCheck at the "
            "same time, please use --feature-gates only");
}

static void what_is_lacking_refuses_the_start(void **state)
{
    (void)state;
    struct parse p;
    refuses("--proxy=on", "", OPTIONS_REFUSED,
            "--proxy=on: there is no v2 proxy; clients reach the members' --advertise-client-urls");
    /* The default, said aloud, asks for nothing. */
    accepts(&p, "--client-cert-auth=false --cert-file= --force-new-cluster=false", "");
    done(&p);
}

/* ---- checks ---- */

static void values_must_fit_together(void **state)
{
    (void)state;
    struct parse p;
    refuses("--heartbeat-interval=0", "", OPTIONS_REFUSED, "--heartbeat-interval must be >0 (set to 0ms)");
    refuses("--election-timeout=400", "", OPTIONS_REFUSED,
            "--election-timeout[400ms] should be at least as 5 times as --heartbeat-interval[100ms]");
    refuses("--election-timeout=60000", "", OPTIONS_REFUSED,
            "--election-timeout[60000ms] is too long, and should be set less than 50000ms");
    refuses("--listen-peer-urls=http://example.com:1", "", OPTIONS_REFUSED,
            "expected IP in URL for binding (http://example.com:1)");
    refuses("--listen-client-urls=http://127.0.0.1:1", "", OPTIONS_ADVERTISE_URLS_UNSET,
            "--advertise-client-urls is required when --listen-client-urls is set explicitly");
    refuses("--initial-advertise-peer-urls=http://:1", "", OPTIONS_REFUSED,
            "--initial-advertise-peer-urls \"http://:1\" must be \"host:port\" (unexpected empty host "
            "(http://:1))");
    refuses("--auto-compaction-mode=x", "", OPTIONS_REFUSED, "unknown auto-compaction-mode \"x\"");
    refuses("--compact-hash-check-time=0s", "", OPTIONS_REFUSED,
            "--compact-hash-check-time must be >0 (set to 0s)");
    refuses("--logger=x", "", OPTIONS_REFUSED, "unknown logger option \"x\"");
    refuses("--listen-client-urls=http://127.0.0.1:1 --advertise-client-urls=http://127.0.0.1:1 "
            "--listen-client-http-urls=http://127.0.0.1:1",
            "", OPTIONS_REFUSED,
            "cannot bind both --listen-client-urls and --listen-client-http-urls on the same url "
            "http://127.0.0.1:1");
    accepts(&p, "--auto-compaction-retention=2", "");
    assert_true(p.parsed.options.auto_compaction_period == INT64_C(7200000000000));
    done(&p);
    accepts(&p, "--auto-compaction-retention=10m", "");
    assert_true(p.parsed.options.auto_compaction_period == INT64_C(600000000000));
    done(&p);
    accepts(&p, "--auto-compaction-mode=revision --auto-compaction-retention=1000", "");
    assert_int_equal(p.parsed.options.auto_compaction_revisions, 1000);
    assert_int_equal(p.parsed.options.auto_compaction_period, 0);
    done(&p);
}

static void the_local_address_is_one_that_peers_are_told(void **state)
{
    (void)state;
    struct parse p;
    const char *urls = "--initial-advertise-peer-urls=http://127.0.0.1:1,http://[::1]:1,http://m:1,"
                       "http://10.0.0.7:2,http://[2001:db8::1]:1 --feature-gates=SetMemberLocalAddr=";
    char flags[512];
    snprintf(flags, sizeof(flags), "%strue", urls);
    accepts(&p, flags, "");
    assert_string_equal(p.parsed.options.local_address, "10.0.0.7");
    done(&p);
    snprintf(flags, sizeof(flags), "%sfalse", urls);
    accepts(&p, flags, "");
    assert_string_equal(p.parsed.options.local_address, "");
    done(&p);
    accepts(&p, "--feature-gates=AllAlpha=true", "");
    assert_true(p.parsed.options.gates[GATE_PRIORITY_REQUEST]);
    assert_string_equal(p.parsed.options.local_address, "");
    done(&p);
}

static void gates_are_named_in_full(void **state)
{
    (void)state;
    struct parse p;
    accepts(&p, "--feature-gates=InitialCorruptCheck=true,TxnModeWriteWithSharedBuffer=false", "");
    assert_true(p.parsed.options.gates[GATE_INITIAL_CORRUPT_CHECK]);
    assert_false(p.parsed.options.gates[GATE_TXN_MODE_WRITE_WITH_SHARED_BUFFER]);
    assert_true(has_note(&p, "the feature gate TxnModeWriteWithSharedBuffer is ignored: "));
    assert_false(has_note(&p, "FastLeaseKeepAlive"));
    done(&p);
    accepts(&p, "--feature-gates=FastLeaseKeepAlive=false", "");
    assert_true(has_note(&p, "the feature gate FastLeaseKeepAlive is ignored: "));
    done(&p);
    accepts(&p, "--feature-gates=AllBeta=false,FastLeaseKeepAlive=true", "");
    assert_true(p.parsed.options.gates[GATE_FAST_LEASE_KEEP_ALIVE]);
    assert_false(p.parsed.options.gates[GATE_TXN_MODE_WRITE_WITH_SHARED_BUFFER]);
    done(&p);
    refuses("--feature-gates=Foo=true", "", OPTIONS_USAGE,
            "invalid value \"Foo=true\" for flag -feature-gates: unrecognized feature gate: Foo");
    refuses("--feature-gates=InitialCorruptCheck=maybe", "", OPTIONS_USAGE,
            "invalid value \"InitialCorruptCheck=maybe\" for flag -feature-gates: invalid value of "
            "InitialCorruptCheck=maybe, err: strconv.ParseBool: parsing \"maybe\": invalid syntax");
    refuses("--feature-gates=LeaseCheckpointPersist=true", "", OPTIONS_REFUSED,
            "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint");
}

/* ---- files ---- */

static char file_path[] = "/tmp/test_options.XXXXXX";

static void write_file(const char *content)
{
    FILE *file = fopen(file_path, "we");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
}

static void parse_file(struct parse *p, const char *content, const char *more_flags, const char *environment)
{
    char flags[256];
    write_file(content);
    snprintf(flags, sizeof(flags), "--config-file=%s %s", file_path, more_flags);
    parse(p, flags, environment);
}

static void refuses_file(const char *content, const char *text)
{
    struct parse p;
    parse_file(&p, content, "", "");
    if (p.error == NULL) fail_msg("%s was accepted", content);
    if (strstr(p.error->text, text) == NULL) fail_msg("%s: %s", content, p.error->text);
    assert_int_equal(p.parsed.failure, OPTIONS_REFUSED);
    done(&p);
}

static void tls_options_must_fit(void **state)
{
    (void)state;
    struct parse p;
    refuses("--tls-min-version=TLS1.1", "", OPTIONS_REFUSED,
            "unexpected TLS version \"TLS1.1\" (must be one of: TLS1.2, TLS1.3)");
    refuses("--tls-min-version=TLS1.3 --tls-max-version=TLS1.2", "", OPTIONS_REFUSED,
            "min version (TLS1.3) is greater than max version (TLS1.2)");
    refuses("--tls-min-version=TLS1.3 --cipher-suites=TLS_AES_128_GCM_SHA256", "", OPTIONS_REFUSED,
            "cipher suites cannot be configured when only TLS1.3 is enabled");
    parse(&p, "--cipher-suites=AES128-SHA", "");
    assert_non_null(
        strstr(p.error->text, "unexpected TLS cipher suite \"AES128-SHA\" (there are: TLS_AES_128_"));
    done(&p);
    refuses("--self-signed-cert-validity=1001", "", OPTIONS_REFUSED,
            "--self-signed-cert-validity must be at most 1000 (set to 1001)");
    accepts(&p, "--ca-file=/ca --cert-file=/c --peer-cert-allowed-cn=a,b --tls-max-version=TLS1.2",
            "ETCD_KEY_FILE=/k");
    assert_string_equal(p.parsed.options.client_tls.trusted_ca_file, "/ca");
    assert_true(p.parsed.options.client_tls.client_cert_auth);
    assert_true(has_note(&p, "ca-file is deprecated; it stands for trusted-ca-file and client-cert-auth"));
    assert_string_equal(p.parsed.options.client_tls.key_file, "/k");
    assert_string_equal(p.parsed.options.peer_tls.allowed_cn, "a,b");
    assert_false(p.parsed.options.peer_tls.client_cert_auth);
    done(&p);
    parse_file(&p,
               "peer-transport-security:\n  cert-file: /c\n  allowed-cn: [x, y]\n  client-cert-auth: true\n"
               "  skip-client-san-verification: true\ncipher-suites: [TLS_RSA_WITH_AES_128_GCM_SHA256]\n",
               "", "");
    if (p.error != NULL) fail_msg("%s", p.error->text);
    assert_string_equal(p.parsed.options.peer_tls.allowed_cn, "x,y");
    assert_true(p.parsed.options.peer_tls.skip_san_verification);
    assert_string_equal(p.parsed.options.cipher_suites, "TLS_RSA_WITH_AES_128_GCM_SHA256");
    done(&p);
}

static void a_file_alone_decides(void **state)
{
    (void)state;
    struct parse p;
    parse_file(&p, "Name: m1\nsnapshot-count: 5\nsnapshot-count: 6\nwal-dir:\ncors: null\nproxy: off\n",
               "--name=flag --cert-file=x", "ETCD_NAME=variable ETCD_HEARTBEAT_INTERVAL=x");
    if (p.error != NULL) fail_msg("%s", p.error->text);
    assert_string_equal(p.parsed.options.name, "m1");
    assert_int_equal(p.parsed.options.snapshot_count, 6);
    assert_string_equal(p.parsed.options.wal_dir, "");
    assert_string_equal(p.parsed.options.cors, "*");
    assert_true(has_note(&p, "loaded server configuration, other configuration command line flags"));
    done(&p);
    char variable[128];
    snprintf(variable, sizeof(variable), "ETCD_CONFIG_FILE=%s", file_path);
    accepts(&p, "", variable);
    assert_string_equal(p.parsed.options.name, "m1");
    done(&p);
    refuses("--config-file=/nowhere/x.yml", "", OPTIONS_REFUSED,
            "open /nowhere/x.yml: No such file or directory");
}

static void a_file_has_blocks_lists_and_json(void **state)
{
    (void)state;
    struct parse p;
    parse_file(&p,
               "client-transport-security:\n  cert-file:\n  client-cert-auth: false\n  auto-tls: no\n"
               "log-outputs: [stderr, /dev/null]\nwarning-apply-duration: 5s\n"
               "backend-batch-interval: 200000000\nauto-compaction-retention: 5\n"
               "experimental-snapshot-catch-up-entries: 9\nfeature-gates: InitialCorruptCheck=true\n"
               "unknown-key: 1\nsocket-options:\n  reuse-address: true\n",
               "", "");
    if (p.error != NULL) fail_msg("%s", p.error->text);
    const struct options *options = &p.parsed.options;
    assert_string_equal(options->log_outputs, "stderr,/dev/null");
    assert_int_equal(options->warning_apply_duration, 5000000000);
    assert_int_equal(options->backend_batch_interval, 200000000);
    assert_true(options->auto_compaction_period == INT64_C(18000000000000));
    assert_int_equal(options->snapshot_catchup_entries, 9);
    assert_true(options->gates[GATE_INITIAL_CORRUPT_CHECK]);
    assert_true(has_note(&p, "ignored an unknown key"));
    char place[128];
    snprintf(place, sizeof(place), "%s:11", file_path);
    bool found = false;
    for (size_t i = 0; i < p.parsed.note_count; i++)
        found =
            found || (p.parsed.notes[i].values[1] != NULL && strcmp(p.parsed.notes[i].values[1], place) == 0);
    assert_true(found);
    done(&p);
    parse_file(&p, "{\"name\": \"j\", \"pre-vote\": false}", "", "");
    assert_string_equal(p.parsed.options.name, "j");
    assert_false(p.parsed.options.pre_vote);
    done(&p);
}

static void a_file_is_typed(void **state)
{
    (void)state;
    refuses_file("snapshot-count: \"1024\"\n",
                 ":1: snapshot-count: invalid value \"1024\": a number is expected, without quotes");
    refuses_file("pre-vote: 'true'\n",
                 ":1: pre-vote: invalid value \"true\": true or false is expected, without quotes");
    refuses_file("name: x\nheartbeat-interval: 100ms\n", ":2: heartbeat-interval: invalid value \"100ms\": ");
    refuses_file("name: [a]\n", ":1: name: a single value is expected");
    refuses_file("\tname: x\n", "error converting YAML to JSON: yaml: line 1: ");
    refuses_file("- a\n", "keys and values are expected");
    refuses_file("initial-cluster-state: old\n", "unexpected clusterState \"old\"");
    refuses_file("client-transport-security: x\n", "a block of keys is expected");
    refuses_file("peer-transport-security: [x]\n", "a block of keys is expected");
}

/* Something that no option of the type can be; NULL: it takes any text. */
static const char *wrong_text(enum option_type type)
{
    switch (type) {
    case OPTION_URLS:
    case OPTION_OPTIONAL_URLS:
    case OPTION_ORIGINS:
        return "ftp://a:1";
    case OPTION_CHOICE:
        return "nonsense";
    case OPTION_GATES:
        return "Nonsense=true";
    case OPTION_BOOL:
        return "maybe";
    case OPTION_UINT:
        return "-1";
    case OPTION_UINT32:
        return "4294967296";
    case OPTION_INT:
        return "1x";
    case OPTION_DURATION:
        return "5parsecs";
    default:
        return NULL;
    }
}

/* The key as it stands in a file, with the blocks around it. */
static void append_key(struct buf *file, const struct option *option, const char *value)
{
    const char *path = option->file == NULL ? option->name : option->file;
    int depth = 0;
    for (; strchr(path, '/') != NULL; path = strchr(path, '/') + 1)
        buf_printf(file, "%*s%.*s:\n", 2 * depth++, "", (int)strcspn(path, "/"), path);
    buf_printf(file, "%*s%s: %s\n", 2 * depth, "", path, value);
}

static void refuses_everywhere(const struct option *option, const char *value)
{
    char flag[256], variable[256], text[512];
    snprintf(flag, sizeof(flag), "--%s=%s", option->name, value);
    snprintf(variable, sizeof(variable), "ETCD_%s=%s", option->name, value);
    for (char *at = variable; *at != '='; at++) *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
    struct parse p;
    parse(&p, flag, "");
    if (p.error == NULL) fail_msg("%s was accepted", flag);
    snprintf(text, sizeof(text), "invalid value \"%s\" for flag -%s: ", value, option->name);
    if (strncmp(p.error->text, text, strlen(text)) != 0 || p.error->text[strlen(text)] == '\0')
        fail_msg("%s: %s", flag, p.error->text);
    done(&p);
    parse(&p, "", variable);
    if (p.error == NULL) fail_msg("%s was accepted", variable);
    snprintf(text, sizeof(text), "invalid value \"%s\" for %.*s: ", value, (int)strcspn(variable, "="),
             variable);
    if (strncmp(p.error->text, text, strlen(text)) != 0 || p.error->text[strlen(text)] == '\0')
        fail_msg("%s: %s", variable, p.error->text);
    done(&p);
    if (option->file != NULL && *option->file == '\0') return;
    struct buf file = {0};
    append_key(&file, option, value);
    parse_file(&p, buf_string(&file), "", "");
    if (p.error == NULL) fail_msg("%s was accepted", buf_string(&file));
    const char *key = option->file == NULL ? option->name : option->file;
    bool is_live_choice = option->type == OPTION_CHOICE && option->use == OPTION_LIVE; /* etcd's words */
    if (strstr(p.error->text, value) == NULL || (!is_live_choice && strstr(p.error->text, key) == NULL))
        fail_msg("%s: %s", buf_string(&file), p.error->text);
    buf_deinit(&file);
    done(&p);
}

static void wrong_values_are_refused_by_key_value_and_reason(void **state)
{
    (void)state;
    size_t tried = 0;
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        const char *value = wrong_text(option->type);
        if (option->use == OPTION_RENAMED || value == NULL || strcmp(option->name, "version") == 0 ||
            strcmp(option->name, "help") == 0 || strcmp(option->name, "h") == 0)
            continue;
        refuses_everywhere(option, value);
        tried++;
    }
    assert_true(tried > 60);
}

/* The keys of the sample file that etcd ships. */
static void the_sample_file_is_accepted(void **state)
{
    (void)state;
    struct parse p;
    parse_file(&p,
               "name: 'default'\ndata-dir:\nwal-dir:\nsnapshot-count: 10000\nheartbeat-interval: 100\n"
               "election-timeout: 1000\nquota-backend-bytes: 0\nlisten-peer-urls: http://localhost:2380\n"
               "listen-client-urls: http://localhost:2379\nmax-snapshots: 5\nmax-wals: 5\ncors:\n"
               "initial-advertise-peer-urls: http://localhost:2380\n"
               "advertise-client-urls: http://localhost:2379\ndiscovery:\ndiscovery-fallback: 'proxy'\n"
               "discovery-proxy:\ndiscovery-srv:\ninitial-cluster:\ninitial-cluster-token: 'etcd-cluster'\n"
               "initial-cluster-state: 'new'\nstrict-reconfig-check: false\nenable-v2: true\n"
               "enable-pprof: true\nproxy: 'off'\nproxy-failure-wait: 5000\nproxy-refresh-interval: 30000\n"
               "proxy-dial-timeout: 1000\nproxy-write-timeout: 5000\nproxy-read-timeout: 0\n"
               "client-transport-security:\n  cert-file:\n  key-file:\n  client-cert-auth: false\n"
               "  trusted-ca-file:\n  auto-tls: false\npeer-transport-security:\n  cert-file:\n  key-file:\n"
               "  client-cert-auth: false\n  trusted-ca-file:\n  auto-tls: false\n"
               "self-signed-cert-validity: 1\nlog-level: debug\nlogger: zap\nlog-outputs: [stderr]\n"
               "force-new-cluster: false\nauto-compaction-mode: periodic\nauto-compaction-retention: \"1\"\n"
               "debug: false\n",
               "", "");
    if (p.error != NULL) fail_msg("%s", p.error->text);
    assert_true(p.parsed.options.auto_compaction_period == INT64_C(3600000000000));
    assert_false(has_note(&p, "unknown key"));
    done(&p);
}

/* ---- help ---- */

static void help_and_manual_show_every_present_option(void **state)
{
    (void)state;
    struct buf help = {0}, manual = {0};
    options_help(&help);
    options_manual(&manual);
    assert_non_null(strstr(buf_string(&help), "  --name 'default'\n    "));
    assert_null(strstr(buf_string(&help), "experimental"));
    for (size_t i = 0; i < option_count; i++) {
        char line[128];
        if (option_table[i].help == NULL) continue;
        snprintf(line, sizeof(line), "  --%s '", option_table[i].name);
        assert_non_null(strstr(buf_string(&help), line));
    }
    assert_non_null(strstr(buf_string(&manual), ".BI \\-\\-data\\-dir =VALUE\n"));
    assert_non_null(
        strstr(buf_string(&manual), ".B \\-\\-experimental\\-memory\\-mlock\nIs \\-\\-memory\\-mlock.\n"));
    buf_deinit(&help);
    buf_deinit(&manual);
}

/* doc/etcd.1 holds what `test_options --manual` prints. */
static void the_manual_page_is_up_to_date(void **state)
{
    (void)state;
    char path[1024];
    static char page[1 << 18];
    struct buf manual = {0};
    const char *source = getenv("srcdir");
    snprintf(path, sizeof(path), "%s/doc/etcd.1", source == NULL ? "." : source);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        print_message("no %s: run this by make check\n", path);
        skip();
        return;
    }
    page[fread(page, 1, sizeof(page) - 1, file)] = '\0';
    fclose(file);
    options_manual(&manual);
    if (strstr(page, buf_string(&manual)) == NULL)
        fail_msg("%s does not have the options that test_options --manual prints", path);
    buf_deinit(&manual);
}

/* One line for each row, for tests that start a server: name, use, type, default, key in a file, key in the
 * start-up log ("-": none). */
static void print_rows(void)
{
    static const char *const uses[] = {"live", "renamed", "gate", "implies", "refused", "without-effect"};
    static const char *const types[] = {"string", "list",  "urls",    "optional-urls", "origins",
                                        "choice", "gates", "bool",    "anything",      "uint",
                                        "uint32", "int",   "duration"};
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        printf("%s\t%s\t%s\t%s\t%s\t%s\n", option->name, uses[option->use], types[option->type],
               option->initial == NULL ? "" : option->initial,
               option->file == NULL ? option->name : option->file,
               options_is_logged(option) ? options_logged_name(option) : "-");
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--rows") == 0) {
        print_rows();
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "--manual") == 0) {
        struct buf manual = {0};
        options_manual(&manual);
        fputs(buf_string(&manual), stdout);
        buf_deinit(&manual);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_whole),
        cmocka_unit_test(defaults_are_etcds),
        cmocka_unit_test(flags_are_read_as_go_reads_them),
        cmocka_unit_test(version_and_help_look_at_nothing_else),
        cmocka_unit_test(the_environment_stands_in_for_flags),
        cmocka_unit_test(a_flag_and_a_variable_for_one_option_conflict),
        cmocka_unit_test(earlier_names_work_and_are_warned_about),
        cmocka_unit_test(what_is_lacking_refuses_the_start),
        cmocka_unit_test(values_must_fit_together),
        cmocka_unit_test(gates_are_named_in_full),
        cmocka_unit_test(the_local_address_is_one_that_peers_are_told),
        cmocka_unit_test(tls_options_must_fit),
        cmocka_unit_test(a_file_alone_decides),
        cmocka_unit_test(a_file_has_blocks_lists_and_json),
        cmocka_unit_test(a_file_is_typed),
        cmocka_unit_test(wrong_values_are_refused_by_key_value_and_reason),
        cmocka_unit_test(the_sample_file_is_accepted),
        cmocka_unit_test(help_and_manual_show_every_present_option),
        cmocka_unit_test(the_manual_page_is_up_to_date),
    };
    int descriptor = mkstemp(file_path);
    if (descriptor < 0) return 1;
    close(descriptor);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(file_path);
    return failed;
}
