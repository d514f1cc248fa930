/* The table of etcdctl's commands. */
#include "shell/commands.h"
#include "shell/help.h"

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

/* ---- the manual ---- */

static const struct help_section sections[] = {
    {"INTERACTIVE SHELL", "Started without a command on a terminal,\n.B etcdctl\nreads commands line by "
                          "line. Tab completes commands, options "
                          "and live keys; a line ending in\n.B &\nruns a watch in the background;\n.B "
                          "\\e?\nlists the shell's own commands. "
                          "Control\\-C stops the running command, control\\-D leaves.\nCommands that change "
                          "much ask before they do it.\n"},
    {"ENVIRONMENT", "Every global option has a variable:\n.B ETCDCTL_\nfollowed by its name in upper case "
                    "with underscores, such as\n"
                    ".BR ETCDCTL_ENDPOINTS .\nGiving both the variable and the option is an error.\n.B "
                    "ETCDCTL_WATCH_KEY\nand\n"
                    ".B ETCDCTL_WATCH_RANGE_END\nname what\n.B watch\nwatches.\n"},
    {"EXIT STATUS", ".TP\n.B 0\nsuccess\n.TP\n.B 1\nthe request failed, or the command line could not be "
                    "read\n.TP\n.B 2\nno connection "
                    "or login\n.TP\n.B 3\nbad input in a transaction or an interactive watch\n.TP\n.B "
                    "4\nunknown format or option value"
                    "\n.TP\n.B 5\ninterrupted: snapshot not saved, watch canceled by the server\n.TP\n.B "
                    "128\nbad arguments\n"},
    {"FILES", ".TP\n.I ~/.etcdctl_history\nlines typed into the interactive shell\n"},
    {"SEE ALSO", ".BR etcd (1),\n.BR etcdutl (1),\n.BR etcdtop (1)\n"},
    {0},
};

const struct help_manual command_manual = {
    .root = &command_root,
    .title = "command line client and interactive shell for etcd",
    .synopsis = "[\\fIoptions\\fR] [\\fIcommand\\fR [\\fIarguments\\fR]]",
    .description =
        "talks to the members of an etcd cluster. Options may stand anywhere on the line; a command's "
        "name may be cut short as long as it stays unique;\n.B \\-\\-\nends the options.\n",
    .sections = sections,
};
