/* The table of etcdctl's commands. */
#include "shell/commands.h"

const struct flag command_global_flags[] = {
    {"endpoints", 0, FLAG_STRINGS, "127.0.0.1:2379", "addresses of the members, comma separated", NULL},
    {"write-out", 'w', FLAG_STRING, "simple", "set the output format (fields, json, protobuf, simple, table)",
     "simple fields json protobuf table"},
    {"hex", 0, FLAG_BOOL, "false", "print byte strings as hex encoded strings", NULL},
    {"dial-timeout", 0, FLAG_DURATION, "2s", "how long a client connection and its login may take", NULL},
    {"command-timeout", 0, FLAG_DURATION, "5s", "how long a short command may take (without connecting)",
     NULL},
    {"keepalive-time", 0, FLAG_DURATION, "2s", "how often an idle connection is probed", NULL},
    {"keepalive-timeout", 0, FLAG_DURATION, "6s", "how long a probe may stay unanswered", NULL},
    {"max-request-bytes", 0, FLAG_INT32, "0", "largest request that is sent (0: 2 MiB)", NULL},
    {"max-recv-bytes", 0, FLAG_INT32, "0", "largest response that is accepted (0: no limit)", NULL},
    {"insecure-transport", 0, FLAG_BOOL, "true",
     "connect without TLS unless an endpoint or TLS option asks for it", NULL},
    {"insecure-skip-tls-verify", 0, FLAG_BOOL, "false",
     "do not verify the server's certificate (only for tests)", NULL},
    {"insecure-discovery", 0, FLAG_BOOL, "true", "accept SRV records of endpoints without TLS", NULL},
    {"cert", 0, FLAG_STRING, "", "file with the client's TLS certificate", NULL},
    {"key", 0, FLAG_STRING, "", "file with the client's TLS key", NULL},
    {"cacert", 0, FLAG_STRING, "", "file with the CA certificates that servers are verified against", NULL},
    {"user", 0, FLAG_STRING, "", "username[:password] for authentication (asks when there is no password)",
     NULL},
    {"password", 0, FLAG_STRING, "", "password for authentication (then --user is the name alone)", NULL},
    {"auth-jwt-token", 0, FLAG_STRING, "", "ready JWT token for authentication instead of a login", NULL},
    {"discovery-srv", 'd', FLAG_STRING, "", "domain whose SRV records name the endpoints", NULL},
    {"discovery-srv-name", 0, FLAG_STRING, "", "service name to ask for in DNS discovery", NULL},
    {"debug", 0, FLAG_BOOL, "false", "log what the client does", NULL},
    {0},
};

static const struct command *const root_children[] = {
    &command_get,         &command_put,
    &command_del,         &command_txn,
    &command_compaction,  &command_alarm,
    &command_defrag,      &command_endpoint,
    &command_move_leader, &command_watch,
    &command_version,     &command_lease,
    &command_member,      &command_snapshot,
    &command_make_mirror, &command_lock,
    &command_elect,       &command_auth,
    &command_user,        &command_role,
    &command_check,       &command_downgrade,
    &command_completion,  &command_options,
    &command_help,        NULL,
};

const struct command command_root = {
    .name = "etcdctl",
    .usage = "",
    .summary = "command line client for etcd; without a command on a terminal an interactive shell",
    .inherited = command_global_flags,
    .children = root_children,
};

static const struct command *const transaction_children[] = {&command_put, &command_get, &command_del, NULL};

const struct command command_transaction_root = {
    .name = "",
    .usage = "",
    .summary = "operations of a transaction",
    .children = transaction_children,
};
