#include "member/first_log.h"

#include "api/message.h"
#include "raft/codec.h"

#include "etcdserver.pb-c.h"

void member_encode_metadata(struct buf *out, uint64_t member_id, uint64_t cluster_id)
{
    Etcdserverpb__Metadata metadata = ETCDSERVERPB__METADATA__INIT;
    metadata.has_nodeid = metadata.has_clusterid = 1;
    metadata.nodeid = member_id;
    metadata.clusterid = cluster_id;
    message_pack(out, &metadata.base);
}

void member_first_entries(const struct cluster *cluster, struct raft_entries *entries)
{
    for (size_t i = 0; i < cluster_member_count(cluster); i++) {
        const struct cluster_member *member = cluster_member_at(cluster, i);
        struct buf context = {0}, data = {0};
        cluster_member_write(&context, member);
        struct raft_conf_change change = {.type = RAFT_CONF_CHANGE_ADD_NODE,
                                          .node_id = member->id,
                                          .context = buf_bytes(&context)};
        raft_encode_conf_change(&data, &change);
        raft_entries_append_owned(entries, (struct raft_entry){.type = RAFT_ENTRY_CONF_CHANGE,
                                                               .term = 1,
                                                               .index = i + 1,
                                                               .data = blob_from(buf_bytes(&data))});
        buf_deinit(&context);
        buf_deinit(&data);
    }
}
