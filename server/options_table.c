/* The table of options: present ones first, in the groups of --help, then what earlier releases had. */
#include "server/options_internal.h"

#include <stddef.h>

#define LIVE(name_, type_, field_, initial_, help_)                                                          \
    {                                                                                                        \
        .name = (name_), .type = (type_), .use = OPTION_LIVE, .offset = offsetof(struct options, field_),    \
        .initial = (initial_), .help = (help_)                                                               \
    }
#define LIVE_IN(name_, type_, field_, file_, initial_, help_)                                                \
    {                                                                                                        \
        .name = (name_), .type = (type_), .use = OPTION_LIVE, .offset = offsetof(struct options, field_),    \
        .initial = (initial_), .help = (help_), .file = (file_)                                              \
    }
#define FLAG_ONLY(name_, type_, field_, initial_, help_)                                                     \
    {                                                                                                        \
        .name = (name_), .type = (type_), .use = OPTION_LIVE, .offset = offsetof(struct options, field_),    \
        .initial = (initial_), .help = (help_), .file = ""                                                   \
    }
#define CHOICE(name_, field_, initial_, choices_, help_)                                                     \
    {                                                                                                        \
        .name = (name_), .type = OPTION_CHOICE, .use = OPTION_LIVE,                                          \
        .offset = offsetof(struct options, field_), .initial = (initial_), .choices = (choices_),            \
        .help = (help_)                                                                                      \
    }
/* Tunes what this release does not have, or what needs no tuning. */
#define IDLE(name_, type_, file_, initial_, help_)                                                           \
    {                                                                                                        \
        .name = (name_), .type = (type_), .use = OPTION_WITHOUT_EFFECT, .initial = (initial_),               \
        .help = (help_), .file = (file_)                                                                     \
    }
#define RENAMED(name_, other_)                                                                               \
    {                                                                                                        \
        .name = (name_), .use = OPTION_RENAMED, .other = (other_)                                            \
    }
#define GATE(name_, initial_, gate_)                                                                         \
    {                                                                                                        \
        .name = (name_), .type = OPTION_BOOL, .use = OPTION_GATE, .initial = (initial_), .other = (gate_)    \
    }
#define REMOVED(name_, type_, initial_, text_)                                                               \
    {                                                                                                        \
        .name = (name_), .type = (type_), .use = OPTION_REFUSED, .initial = (initial_), .text = (text_)      \
    }
#define RETIRED(name_, type_, initial_, text_)                                                               \
    {                                                                                                        \
        .name = (name_), .type = (type_), .use = OPTION_WITHOUT_EFFECT, .initial = (initial_),               \
        .text = (text_)                                                                                      \
    }
#define IGNORED(name_)                                                                                       \
    {                                                                                                        \
        .name = (name_), .type = OPTION_ANYTHING, .use = OPTION_WITHOUT_EFFECT, .initial = "", .file = ""    \
    }

#define CLIENT_TLS "client-transport-security/"
#define PEER_TLS   "peer-transport-security/"
#define DISCOVERY  "discovery-config/"

const struct option option_table[] = {
    /* Member */
    LIVE("name", OPTION_STRING, name, "default", "Name of this member, for people."),
    LIVE("data-dir", OPTION_STRING, data_dir, "", "The data directory; empty: NAME.etcd."),
    LIVE("wal-dir", OPTION_STRING, wal_dir, "",
         "A directory of its own for the write-ahead log; empty: in the data directory."),
    LIVE("snapshot-count", OPTION_UINT, snapshot_count, "10000",
         "Applied entries between two snapshots on disk."),
    LIVE("snapshot-catchup-entries", OPTION_UINT, snapshot_catchup_entries, "5000",
         "Entries kept in memory behind a snapshot for followers that are slow."),
    LIVE("heartbeat-interval", OPTION_UINT, heartbeat_interval, "100",
         "Milliseconds between two heartbeats of a leader."),
    LIVE("election-timeout", OPTION_UINT, election_timeout, "1000",
         "Milliseconds without a leader until an election begins."),
    LIVE("initial-election-tick-advance", OPTION_BOOL, initial_election_tick_advance, "true",
         "Shorten the first election timeout after a start."),
    LIVE("listen-peer-urls", OPTION_URLS, listen_peer_urls, "http://localhost:2380",
         "Addresses to listen on for other members."),
    LIVE("listen-client-urls", OPTION_URLS, listen_client_urls, "http://localhost:2379",
         "Addresses to listen on for clients: gRPC, and HTTP unless --listen-client-http-urls is given."),
    LIVE("listen-client-http-urls", OPTION_OPTIONAL_URLS, listen_client_http_urls, "",
         "Addresses for HTTP alone; the client addresses then serve gRPC alone."),
    LIVE("listen-metrics-urls", OPTION_OPTIONAL_URLS, listen_metrics_urls, "",
         "Further addresses for /metrics, /health, /livez and /readyz."),
    LIVE("max-snapshots", OPTION_UINT, max_snapshots, "5", "Snapshot files to keep; 0: all."),
    LIVE("max-wals", OPTION_UINT, max_wals, "5", "Log files to keep; 0: all."),
    LIVE("quota-backend-bytes", OPTION_INT, quota_backend_bytes, "0",
         "Size of the database beyond which the member takes no more writes and raises an alarm; 0: 2 GiB, "
         "negative: no limit."),
    {.name = "backend-bbolt-freelist-type",
     .type = OPTION_STRING,
     .use = OPTION_WITHOUT_EFFECT,
     .initial = "map",
     .help = "How etcd keeps free pages in memory (array or map); without effect.",
     .text = "--backend-bbolt-freelist-type has no effect: free pages are kept in one form"},
    LIVE("backend-batch-interval", OPTION_DURATION, backend_batch_interval, "0s",
         "Longest time until the database is committed; 0: 100ms."),
    LIVE("backend-batch-limit", OPTION_INT, backend_batch_limit, "0",
         "Most operations in one commit of the database; 0: 10000."),
    LIVE("max-txn-ops", OPTION_UINT, max_txn_ops, "128", "Most operations in one transaction."),
    LIVE("max-request-bytes", OPTION_UINT, max_request_bytes, "1572864",
         "Largest request of a client, in bytes."),
    LIVE("max-concurrent-streams", OPTION_UINT32, max_concurrent_streams, "4294967295",
         "Calls that a client may have open on one connection."),
    LIVE("grpc-keepalive-min-time", OPTION_DURATION, grpc_keepalive_min_time, "5s",
         "Least time that a client has to leave between pings."),
    LIVE("grpc-keepalive-interval", OPTION_DURATION, grpc_keepalive_interval, "2h0m0s",
         "Silence after which a client is pinged; 0: never."),
    LIVE("grpc-keepalive-timeout", OPTION_DURATION, grpc_keepalive_timeout, "20s",
         "Time for the answer to a ping until the connection is closed; 0: no limit."),
    {.name = "socket-reuse-port",
     .type = OPTION_BOOL,
     .use = OPTION_LIVE,
     .offset = offsetof(struct options, socket_reuse_port),
     .initial = "false",
     .help = "Let several processes listen on one port; the system deals out the connections.",
     .file = "socket-options/reuse-port"},
    IDLE("socket-reuse-address", OPTION_BOOL, "socket-options/reuse-address", "false",
         "Listen on an address that lingers from an earlier process; it always does."),
    LIVE("enable-grpc-gateway", OPTION_BOOL, enable_grpc_gateway, "true",
         "Serve the API as JSON over HTTP, too."),
    FLAG_ONLY("raft-read-timeout", OPTION_DURATION, raft_read_timeout, "5s",
              "Silence after which a connection from a peer is closed; at least 5s."),
    FLAG_ONLY("raft-write-timeout", OPTION_DURATION, raft_write_timeout, "5s",
              "Time without progress after which a connection to a peer is closed; at least 5s."),
    LIVE("memory-mlock", OPTION_BOOL, memory_mlock, "false",
         "Keep the process's memory, the database above all, from being swapped out."),
    LIVE("feature-gates", OPTION_GATES, feature_gates, "",
         "Features to switch on or off, as Name=true,Name=false: AllAlpha, AllBeta, CompactHashCheck, "
         "FastLeaseKeepAlive, InitialCorruptCheck, LeaseCheckpoint, LeaseCheckpointPersist, PriorityRequest, "
         "SetMemberLocalAddr, StopGRPCServiceOnDefrag, TxnModeWriteWithSharedBuffer."),
    LIVE("io-threads", OPTION_UINT, io_threads, "0",
         "Threads that serve connections; 0: half the processors, at most 8."),

    /* Clustering */
    LIVE("initial-advertise-peer-urls", OPTION_URLS, initial_advertise_peer_urls, "http://localhost:2380",
         "Addresses at which the other members reach this one."),
    LIVE("initial-cluster", OPTION_STRING, initial_cluster, "",
         "The members at the first start, as name=URL,name=URL."),
    CHOICE("initial-cluster-state", initial_cluster_state, "new", "new|existing",
           "What the first start is: 'new' founds a cluster, 'existing' joins one."),
    LIVE("initial-cluster-token", OPTION_STRING, initial_cluster_token, "etcd-cluster",
         "Keeps clusters with equal members apart."),
    LIVE("advertise-client-urls", OPTION_URLS, advertise_client_urls, "http://localhost:2379",
         "Addresses at which clients reach this member."),
    LIVE("discovery-srv", OPTION_STRING, discovery_srv, "",
         "Domain whose SRV records name the members, at the first start."),
    LIVE("discovery-srv-name", OPTION_STRING, discovery_srv_name, "", "Suffix of the DNS service name."),
    LIVE_IN("discovery-token", OPTION_STRING, discovery_token, DISCOVERY "token", "",
            "Token of this cluster at the discovery service, at the first start."),
    LIVE_IN("discovery-endpoints", OPTION_LIST, discovery_endpoints, DISCOVERY "client/endpoints", "",
            "Addresses of the discovery service, an etcd."),
    LIVE_IN("discovery-dial-timeout", OPTION_DURATION, discovery_dial_timeout,
            DISCOVERY "client/dial-timeout", "2s", "Time to connect to the discovery service."),
    LIVE_IN("discovery-request-timeout", OPTION_DURATION, discovery_request_timeout,
            DISCOVERY "client/request-timeout", "5s", "Time for one request to the discovery service."),
    LIVE_IN("discovery-keepalive-time", OPTION_DURATION, discovery_keepalive_time,
            DISCOVERY "client/keepalive-time", "2s", "Time between pings to the discovery service."),
    LIVE_IN("discovery-keepalive-timeout", OPTION_DURATION, discovery_keepalive_timeout,
            DISCOVERY "client/keepalive-timeout", "6s", "Time for the answer to such a ping."),
    LIVE_IN("discovery-insecure-transport", OPTION_BOOL, discovery_insecure_transport,
            DISCOVERY "client/secure/insecure-transport", "true", "Reach the discovery service without TLS."),
    LIVE_IN("discovery-insecure-skip-tls-verify", OPTION_BOOL, discovery_insecure_skip_tls_verify,
            DISCOVERY "client/secure/insecure-skip-tls-verify", "false",
            "Do not verify the certificate of the discovery service."),
    LIVE_IN("discovery-cert", OPTION_STRING, discovery_cert, DISCOVERY "client/secure/cert", "",
            "Certificate to show to the discovery service."),
    LIVE_IN("discovery-key", OPTION_STRING, discovery_key, DISCOVERY "client/secure/key", "",
            "Key of that certificate."),
    LIVE_IN("discovery-cacert", OPTION_STRING, discovery_cacert, DISCOVERY "client/secure/cacert", "",
            "Authorities to trust for the discovery service."),
    LIVE_IN("discovery-user", OPTION_STRING, discovery_user, DISCOVERY "client/auth/username", "",
            "User name at the discovery service."),
    {.name = "discovery-password",
     .type = OPTION_STRING,
     .use = OPTION_LIVE,
     .offset = offsetof(struct options, discovery_password),
     .initial = "",
     .help = "Password of that user.",
     .file = DISCOVERY "client/auth/password",
     .is_secret = true},
    {.name = "discovery-fallback",
     .type = OPTION_CHOICE,
     .use = OPTION_WITHOUT_EFFECT,
     .initial = "exit",
     .choices = "exit|proxy",
     .help = "What to do when discovery fails; it always exits.",
     .text = "--discovery-fallback is ignored: there is no v2 proxy to fall back to"},
    LIVE("strict-reconfig-check", OPTION_BOOL, strict_reconfig_check, "true",
         "Refuse changes of the membership that would lose the quorum."),
    LIVE("pre-vote", OPTION_BOOL, pre_vote, "true", "Ask for votes before the term is raised."),
    LIVE("max-cluster-version", OPTION_STRING, max_cluster_version, "3.5",
         "Highest cluster version that this member proposes as leader, from 3.5 to its own. An etcd older "
         "than "
         "the cluster version refuses the data directory, so 3.5 lets etcd 3.5 take it over at any time."),
    LIVE("auto-compaction-mode", OPTION_STRING, auto_compaction_mode, "periodic",
         "What --auto-compaction-retention counts: 'periodic' is time, 'revision' is revisions."),
    LIVE("auto-compaction-retention", OPTION_STRING, auto_compaction_retention, "0",
         "History to keep, hours or a duration, or revisions; 0: all of it."),
    LIVE("max-learners", OPTION_INT, max_learners, "1",
         "Learners allowed in the cluster; must be equal on all members."),
    LIVE("downgrade-check-time", OPTION_DURATION, downgrade_check_time, "5s",
         "Time between looks at the members' versions while a downgrade is under way."),

    /* Security */
    LIVE_IN(
        "cert-file", OPTION_STRING, client_tls.cert_file, CLIENT_TLS "cert-file", "",
        "Certificate for https and unixs addresses of clients and of metrics; PEM. It and its key are looked "
        "at again for each connection, so they can be renewed any time."),
    LIVE_IN("key-file", OPTION_STRING, client_tls.key_file, CLIENT_TLS "key-file", "",
            "Key of that certificate."),
    LIVE_IN("client-cert-file", OPTION_STRING, client_tls.client_cert_file, CLIENT_TLS "client-cert-file", "",
            "Certificate for connections to itself, of which there are none; only checked."),
    LIVE_IN("client-key-file", OPTION_STRING, client_tls.client_key_file, CLIENT_TLS "client-key-file", "",
            "Key of that certificate."),
    LIVE_IN("client-cert-auth", OPTION_BOOL, client_tls.client_cert_auth, CLIENT_TLS "client-cert-auth",
            "false", "Let in only clients with a certificate of --trusted-ca-file or else the system."),
    LIVE_IN("client-crl-file", OPTION_STRING, client_tls.crl_file, CLIENT_TLS "crl-file", "",
            "Revoked certificates of clients; PEM or DER. Looked at again for each connection."),
    LIVE_IN("client-cert-allowed-cn", OPTION_LIST, client_tls.allowed_cn, CLIENT_TLS "allowed-cn", "",
            "Common names of which a client's certificate must have one."),
    LIVE_IN("client-cert-allowed-hostname", OPTION_LIST, client_tls.allowed_hostname,
            CLIENT_TLS "allowed-hostname", "", "Names of which a client's certificate must have one."),
    LIVE_IN("trusted-ca-file", OPTION_STRING, client_tls.trusted_ca_file, CLIENT_TLS "trusted-ca-file", "",
            "Authorities whose certificates clients must show; PEM, read at the start."),
    LIVE_IN("skip-client-san-verification", OPTION_BOOL, client_tls.skip_san_verification,
            CLIENT_TLS "skip-client-san-verification", "false",
            "Do not compare the address of who reads the metrics with the names in its certificate; of "
            "clients it never is."),
    LIVE_IN("auto-tls", OPTION_BOOL, client_tls.auto_tls, CLIENT_TLS "auto-tls", "false",
            "Without --cert-file: serve clients with a certificate made here."),
    LIVE_IN("peer-cert-file", OPTION_STRING, peer_tls.cert_file, PEER_TLS "cert-file", "",
            "Certificate for https addresses of other members, and shown to them; as --cert-file."),
    LIVE_IN("peer-key-file", OPTION_STRING, peer_tls.key_file, PEER_TLS "key-file", "",
            "Key of that certificate."),
    LIVE_IN("peer-client-cert-file", OPTION_STRING, peer_tls.client_cert_file, PEER_TLS "client-cert-file",
            "", "Certificate to show to other members; empty: --peer-cert-file."),
    LIVE_IN("peer-client-key-file", OPTION_STRING, peer_tls.client_key_file, PEER_TLS "client-key-file", "",
            "Key of that certificate."),
    LIVE_IN("peer-client-cert-auth", OPTION_BOOL, peer_tls.client_cert_auth, PEER_TLS "client-cert-auth",
            "false", "Let in only members with a certificate of --peer-trusted-ca-file or else the system."),
    LIVE_IN("peer-trusted-ca-file", OPTION_STRING, peer_tls.trusted_ca_file, PEER_TLS "trusted-ca-file", "",
            "Authorities whose certificates other members must show; PEM, read at the start."),
    LIVE_IN("peer-crl-file", OPTION_STRING, peer_tls.crl_file, PEER_TLS "crl-file", "",
            "Revoked certificates of members; as --client-crl-file."),
    LIVE_IN("peer-cert-allowed-cn", OPTION_LIST, peer_tls.allowed_cn, PEER_TLS "allowed-cn", "",
            "Common names of which a member's certificate must have one."),
    LIVE_IN("peer-cert-allowed-hostname", OPTION_LIST, peer_tls.allowed_hostname, PEER_TLS "allowed-hostname",
            "", "Names of which a member's certificate must have one."),
    LIVE_IN(
        "peer-auto-tls", OPTION_BOOL, peer_tls.auto_tls, PEER_TLS "auto-tls", "false",
        "Without --peer-cert-file: serve members with a certificate made here, and verify none of theirs."),
    LIVE_IN("peer-skip-client-san-verification", OPTION_BOOL, peer_tls.skip_san_verification,
            PEER_TLS "skip-client-san-verification", "false",
            "Do not compare the address of a member with the names in its certificate."),
    LIVE("self-signed-cert-validity", OPTION_UINT, self_signed_cert_validity, "1",
         "Years that a certificate made here lasts."),
    LIVE("cipher-suites", OPTION_LIST, cipher_suites, "",
         "Cipher suites for TLS 1.2, by Go's names; empty: Go's choice."),
    LIVE("tls-min-version", OPTION_STRING, tls_min_version, "TLS1.2",
         "Oldest TLS version: TLS1.2 or TLS1.3."),
    LIVE("tls-max-version", OPTION_STRING, tls_max_version, "",
         "Newest TLS version: TLS1.2 or TLS1.3; empty: the newest there is."),
    LIVE("cors", OPTION_ORIGINS, cors, "*", "Origins whose web pages may use the HTTP API; *: all."),
    LIVE("host-whitelist", OPTION_LIST, host_whitelist, "*",
         "Host names by which HTTP clients may call this server; *: all."),
    LIVE("auth-token", OPTION_STRING, auth_token, "simple",
         "Kind of the tokens of users: simple, or jwt,sign-method=METHOD,priv-key=FILE,pub-key=FILE,ttl=5m."),
    LIVE("bcrypt-cost", OPTION_UINT, bcrypt_cost, "10", "Cost of hashing a password, 4 to 31."),
    LIVE("auth-token-ttl", OPTION_UINT, auth_token_ttl, "300", "Seconds that a simple token lasts unused."),

    /* Logging, profiling and monitoring */
    LIVE("logger", OPTION_STRING, logger, "zap",
         "'zap' writes structured lines, 'capnslog' those of etcd up to 3.4."),
    LIVE("log-outputs", OPTION_LIST, log_outputs, "default",
         "Where lines go: 'stderr' or 'default', 'stdout', 'systemd/journal', and paths of files."),
    LIVE("log-level", OPTION_STRING, log_level, "info", "debug, info, warn, error, panic or fatal."),
    CHOICE("log-format", log_format, "json", "json|console", "Shape of a line."),
    LIVE("enable-log-rotation", OPTION_BOOL, enable_log_rotation, "false",
         "Begin a new log file when one is large; needs one file in --log-outputs."),
    LIVE("log-rotation-config-json", OPTION_STRING, log_rotation_config_json,
         "{\"maxsize\": 100, \"maxage\": 0, \"maxbackups\": 0, \"localtime\": false, \"compress\": false}",
         "When to begin a new log file, and what becomes of old ones: size in MiB, age in days, number; 0 "
         "keeps all."),
    LIVE("metrics", OPTION_STRING, metrics, "basic", "'extensive' adds histograms of calls."),
    LIVE("enable-pprof", OPTION_BOOL, enable_pprof, "false", "Serve /debug/pprof/."),
    LIVE("warning-apply-duration", OPTION_DURATION, warning_apply_duration, "100ms",
         "Time to apply a request from which it is warned about."),
    LIVE("warning-unary-request-duration", OPTION_DURATION, warning_unary_request_duration, "300ms",
         "Time to answer a call from which it is warned about."),
    {.name = "enable-distributed-tracing",
     .type = OPTION_BOOL,
     .use = OPTION_WITHOUT_EFFECT,
     .initial = "false",
     .help = "Send traces to a collector; this release sends none.",
     .text = "--enable-distributed-tracing is ignored: this release sends no traces"},
    IDLE("distributed-tracing-address", OPTION_STRING, NULL, "localhost:4317", "Address of the collector."),
    IDLE("distributed-tracing-service-name", OPTION_STRING, NULL, "etcd", "Name of the service in traces."),
    IDLE("distributed-tracing-instance-id", OPTION_STRING, NULL, "", "Name of this process in traces."),
    IDLE("distributed-tracing-sampling-rate", OPTION_INT, NULL, "0", "Traces to send, of a million."),

    /* Tuning and checks */
    LIVE("corrupt-check-time", OPTION_DURATION, corrupt_check_time, "0s",
         "Time between comparisons of the leader's data with the other members'; 0: never."),
    LIVE("compact-hash-check-time", OPTION_DURATION, compact_hash_check_time, "1m0s",
         "Time between comparisons of hashes taken at compactions."),
    LIVE("compaction-batch-limit", OPTION_INT, compaction_batch_limit, "0",
         "Revisions looked at in one step of a compaction; 0: 1000."),
    LIVE("compaction-sleep-interval", OPTION_DURATION, compaction_sleep_interval, "0s",
         "Pause between these steps; 0: 10ms."),
    LIVE("watch-progress-notify-interval", OPTION_DURATION, watch_progress_notify_interval, "0s",
         "Silence after which a watch is told the revision; 0: 10m."),
    LIVE("bootstrap-defrag-threshold-megabytes", OPTION_UINT, bootstrap_defrag_threshold_megabytes, "0",
         "Free space in the database from which it is defragmented at the start; 0: never."),
    LIVE("force-new-cluster", OPTION_BOOL, force_new_cluster, "false",
         "Make this member the only one of its cluster, with the data it has: the others are lost for good."),
    LIVE("unsafe-no-fsync", OPTION_BOOL, unsafe_no_fsync, "false",
         "Do not wait for the disk: what was acknowledged may be lost."),
    FLAG_ONLY("config-file", OPTION_STRING, config_file, "",
              "A YAML file with all options; every other flag and variable is then without effect."),
    FLAG_ONLY("version", OPTION_BOOL, version, "false", "Print the version and exit."),
    FLAG_ONLY("help", OPTION_BOOL, help, "false", NULL),
    FLAG_ONLY("h", OPTION_BOOL, help, "false", NULL),

    /* Earlier names. */
    RENAMED("experimental-compact-hash-check-time", "compact-hash-check-time"),
    RENAMED("experimental-corrupt-check-time", "corrupt-check-time"),
    RENAMED("experimental-compaction-batch-limit", "compaction-batch-limit"),
    RENAMED("experimental-compaction-sleep-interval", "compaction-sleep-interval"),
    RENAMED("experimental-watch-progress-notify-interval", "watch-progress-notify-interval"),
    RENAMED("experimental-warning-apply-duration", "warning-apply-duration"),
    RENAMED("experimental-warning-unary-request-duration", "warning-unary-request-duration"),
    RENAMED("experimental-bootstrap-defrag-threshold-megabytes", "bootstrap-defrag-threshold-megabytes"),
    RENAMED("experimental-memory-mlock", "memory-mlock"),
    RENAMED("experimental-snapshot-catchup-entries", "snapshot-catchup-entries"),
    RENAMED("experimental-snapshot-catch-up-entries", "snapshot-catchup-entries"),
    RENAMED("experimental-downgrade-check-time", "downgrade-check-time"),
    RENAMED("experimental-max-learners", "max-learners"),
    RENAMED("experimental-peer-skip-client-san-verification", "peer-skip-client-san-verification"),
    RENAMED("experimental-enable-distributed-tracing", "enable-distributed-tracing"),
    RENAMED("experimental-distributed-tracing-address", "distributed-tracing-address"),
    RENAMED("experimental-distributed-tracing-service-name", "distributed-tracing-service-name"),
    RENAMED("experimental-distributed-tracing-instance-id", "distributed-tracing-instance-id"),
    RENAMED("experimental-distributed-tracing-sampling-rate", "distributed-tracing-sampling-rate"),
    RENAMED("experimental-backend-bbolt-freelist-type", "backend-bbolt-freelist-type"),
    RENAMED("log-output", "log-outputs"),
    GATE("experimental-initial-corrupt-check", "false", "InitialCorruptCheck"),
    GATE("experimental-compact-hash-check-enabled", "false", "CompactHashCheck"),
    GATE("experimental-enable-lease-checkpoint", "false", "LeaseCheckpoint"),
    GATE("experimental-enable-lease-checkpoint-persist", "false", "LeaseCheckpointPersist"),
    GATE("experimental-stop-grpc-service-on-defrag", "false", "StopGRPCServiceOnDefrag"),
    GATE("experimental-txn-mode-write-with-shared-buffer", "true", "TxnModeWriteWithSharedBuffer"),
    {.name = "debug",
     .type = OPTION_BOOL,
     .use = OPTION_IMPLIES,
     .initial = "false",
     .other = "log-level",
     .text = "debug"},
    {.name = "ca-file",
     .type = OPTION_STRING,
     .use = OPTION_LIVE,
     .offset = offsetof(struct options, client_tls.ca_file),
     .initial = "",
     .file = CLIENT_TLS "ca-file",
     .text = "Is --trusted-ca-file together with --client-cert-auth"},
    {.name = "peer-ca-file",
     .type = OPTION_STRING,
     .use = OPTION_LIVE,
     .offset = offsetof(struct options, peer_tls.ca_file),
     .initial = "",
     .file = PEER_TLS "ca-file",
     .text = "Is --peer-trusted-ca-file together with --peer-client-cert-auth"},
    REMOVED("experimental-enable-v2v3", OPTION_STRING, "",
            "the v2 API is not served; move its clients to the v3 API"),
    REMOVED("proxy", OPTION_STRING, "off",
            "there is no v2 proxy; clients reach the members' --advertise-client-urls"),
    REMOVED("discovery", OPTION_STRING, "",
            "there is no v2 discovery; name the members in --initial-cluster"),
    RETIRED("enable-v2", OPTION_BOOL, "false", "--enable-v2 is ignored: the v2 API is not served"),
    {.name = "v2-deprecation",
     .type = OPTION_CHOICE,
     .use = OPTION_WITHOUT_EFFECT,
     .initial = "",
     .choices = "not-yet|write-only|write-only-skip-check|write-only-drop-data|gone",
     .text = "--v2-deprecation is ignored: the v2 API is not served"},
    RETIRED("discovery-proxy", OPTION_STRING, "", "--discovery-proxy is ignored: there is no v2 discovery"),
    RETIRED("log-package-levels", OPTION_STRING, "", "--log-package-levels is ignored; use --log-level"),
    RETIRED("next-cluster-version-compatible", OPTION_BOOL, "false",
            "--next-cluster-version-compatible is ignored"),
    RETIRED("proxy-failure-wait", OPTION_UINT, "5000", NULL),
    RETIRED("proxy-refresh-interval", OPTION_UINT, "30000", NULL),
    RETIRED("proxy-dial-timeout", OPTION_UINT, "1000", NULL),
    RETIRED("proxy-write-timeout", OPTION_UINT, "5000", NULL),
    RETIRED("proxy-read-timeout", OPTION_UINT, "0", NULL),
    IGNORED("cluster-active-size"),
    IGNORED("cluster-remove-delay"),
    IGNORED("cluster-sync-interval"),
    IGNORED("config"),
    IGNORED("force"),
    IGNORED("max-result-buffer"),
    IGNORED("max-retry-attempts"),
    IGNORED("peer-heartbeat-interval"),
    IGNORED("peer-election-timeout"),
    IGNORED("retry-interval"),
    IGNORED("snapshot"),
    IGNORED("v"),
    IGNORED("vv"),
    IGNORED("test.coverprofile"),
    IGNORED("test.outputdir"),
};

const size_t option_count = sizeof(option_table) / sizeof(option_table[0]);
