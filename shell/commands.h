/* commands: the entries that the command table joins, each in the file of its group. */
#ifndef SHELL_COMMANDS_H
#define SHELL_COMMANDS_H

#include "shell/command.h"

/* command_kv.c */
extern const struct command command_put, command_get, command_del, command_compaction;
/* command_txn.c, command_watch.c, command_lease.c */
extern const struct command command_txn, command_watch, command_lease;
/* command_endpoint.c, command_member.c, command_maintenance.c, command_snapshot.c */
extern const struct command command_endpoint, command_member, command_alarm, command_defrag,
    command_move_leader, command_downgrade, command_snapshot;
/* command_lock.c, command_mirror.c, command_check.c */
extern const struct command command_lock, command_elect, command_make_mirror, command_check;
/* command_auth.c */
extern const struct command command_auth, command_user, command_role;
/* command_information.c */
extern const struct command command_version, command_completion, command_options, command_help;

#endif
