/* Users, roles, logins: what their entries do, and the call that is answered without one.
 *
 * The messages are read field by field and names as bytes: real members accept names that hold zero bytes,
 * and an entry that one member applied every member must apply. */
#include "node/node_internal.h"

#include "base/text.h"
#include "base/wire.h"

enum {
    FIELDS = 5, /* numbers 1 to 4; all of these messages' fields are length-delimited */
    NAME = 1,
    ROLE_OF_USER = 2,
    USER_PASSWORD = 2,
    USER_OPTIONS = 3,
    OPTIONS_NO_PASSWORD = 1,
    USER_ADD_HASHED = 4,
    CHANGE_HASHED = 3,
    AUTHENTICATE_TOKEN = 3,
    GRANTED_PERMISSION = 2,
    REVOKED_KEY = 2,
    REVOKED_END = 3,
    PERMISSION_TYPE = 1,
    PERMISSION_KEY = 2,
    PERMISSION_END = 3,
    RESPONSE_LIST = 2, /* token, roles, users, permissions */
    STATUS_ENABLED = 2,
    STATUS_REVISION = 3,
    SALT_SIZE = 16,
};

/* An absent field has no data. */
struct fields {
    struct bytes at[FIELDS];
};

static bool read_fields(struct bytes message, struct fields *fields)
{
    struct wire_reader reader = wire_reader_of(message);
    struct wire_field field;
    *fields = (struct fields){0};
    while (wire_next(&reader, &field))
        if (field.number < FIELDS && field.type == WIRE_LENGTH) fields->at[field.number] = field.bytes;
    return !reader.failed;
}

static uint64_t read_number(struct bytes message, uint32_t number)
{
    struct wire_reader reader = wire_reader_of(message);
    struct wire_field field;
    uint64_t value = 0;
    while (wire_next(&reader, &field))
        if (field.number == number && field.type == WIRE_VARINT) value = field.value;
    return value;
}

static struct error *read_entry(const struct node_application *application, struct fields *fields)
{
    if (read_fields(application->view.message, fields)) return NULL;
    return error_new(ERROR_CORRUPT, "entry %llu is malformed", (unsigned long long)application->entry->index);
}

/* Without changes to tell, only a header. */
static void respond(struct node *node, const struct node_application *application)
{
    if (application->status == API_OK && application->response != NULL) node_begin_response(node);
}

/* ---- the switch ---- */

struct error *node_apply_auth_enable(struct node *node, struct node_application *application)
{
    application->status = auth_enable(node->auth);
    respond(node, application);
    return NULL;
}

struct error *node_apply_auth_disable(struct node *node, struct node_application *application)
{
    auth_disable(node->auth);
    auth_tokens_forget_all(node->tokens);
    respond(node, application);
    return NULL;
}

struct error *node_apply_auth_status(struct node *node, struct node_application *application)
{
    respond(node, application);
    if (application->response == NULL) return NULL;
    wire_uint_field_nonzero(application->response, STATUS_ENABLED, auth_is_enabled(node->auth));
    wire_uint_field_nonzero(application->response, STATUS_REVISION, auth_revision(node->auth));
    return NULL;
}

/* ---- logins ---- */

/* Whether a password may be tried. */
static enum api_error check_login(const struct node *node, struct bytes name, const struct auth_user **user)
{
    if (!auth_is_enabled(node->auth)) return API_ERROR_AUTH_NOT_ENABLED;
    *user = auth_find_user(node->auth, name);
    if (*user == NULL) return API_ERROR_AUTH_FAILED;
    return (*user)->no_password ? API_ERROR_NO_PASSWORD_USER : API_OK;
}

void node_serve_password(struct node *node, struct node_request *request)
{
    const Etcdserverpb__AuthenticateRequest *asked = request->message;
    const struct auth_user *user = NULL;
    enum api_error error = check_login(node, bytes_from_string(asked->name), &user);
    buf_clear(&node->scratch);
    if (error == API_OK) buf_append_bytes(&node->scratch, user->password);
    node_reply(node, request, error);
}

/* The same text on every member: the index is that of the entry before. */
static void assign_token(struct node *node, const struct node_application *application, struct bytes name,
                         struct bytes prefix)
{
    struct buf token = {0};
    buf_append_bytes(&token, prefix);
    buf_printf(&token, ".%llu", (unsigned long long)(application->entry->index - 1));
    auth_tokens_assign(node->tokens, buf_bytes(&token), name, node->now);
    if (application->response != NULL)
        wire_bytes_field(application->response, RESPONSE_LIST, buf_bytes(&token));
    buf_deinit(&token);
}

struct error *node_apply_authenticate(struct node *node, struct node_application *application)
{
    struct fields fields;
    const struct auth_user *user = NULL;
    TRY(read_entry(application, &fields));
    application->status = check_login(node, fields.at[NAME], &user);
    if (application->status == API_ERROR_NO_PASSWORD_USER) application->status = API_ERROR_AUTH_FAILED;
    respond(node, application);
    if (application->status == API_OK && node->config.simple_tokens)
        assign_token(node, application, fields.at[NAME], fields.at[AUTHENTICATE_TOKEN]);
    return NULL;
}

/* ---- users ---- */

/* Go's standard base64, as strict as its decoder: all members must agree on what is malformed. */
static bool read_base64(struct bytes text, struct buf *out)
{
    struct buf digits = {0};
    bool is_standard = true;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        if (byte == '\r' || byte == '\n') continue; /* which it passes over */
        is_standard = is_standard && byte != '-' && byte != '_';
        buf_append_byte(&digits, byte);
    }
    bool good = is_standard && digits.size % 4 == 0 && text_parse_base64(buf_bytes(&digits), out);
    buf_deinit(&digits);
    return good;
}

/* Appends the bcrypt hash that the user is to have: false when there is no telling it. */
static bool read_password(struct node *node, const struct node_application *application, struct bytes plain,
                          struct bytes hashed, struct buf *hash)
{
    if (plain.size == 0 || hashed.size > 0) return read_base64(hashed, hash);
    /* A member older than 3.5 wrote it. Its salt must be the same on every member, and at each replay. */
    uint8_t salt[SALT_SIZE];
    struct rng rng;
    if (node->config.hash_password == NULL) return true;
    rng_init(&rng, application->entry->index ^ node->config.cluster_id);
    be64_put(salt, rng_next(&rng));
    be64_put(salt + sizeof(uint64_t), rng_next(&rng));
    node->config.hash_password(plain, salt, hash);
    return true;
}

struct error *node_apply_user_add(struct node *node, struct node_application *application)
{
    struct fields fields;
    struct buf hash = {0};
    TRY(read_entry(application, &fields));
    struct auth_new_user user = {.name = fields.at[NAME]};
    user.no_password = read_number(fields.at[USER_OPTIONS], OPTIONS_NO_PASSWORD) != 0;
    bool may_add = user.name.size > 0 && auth_find_user(node->auth, user.name) == NULL;
    if (may_add && !user.no_password &&
        !read_password(node, application, fields.at[USER_PASSWORD], fields.at[USER_ADD_HASHED], &hash)) {
        application->status = API_ERROR_NO_PASSWORD_USER;
    } else {
        user.password = buf_bytes(&hash);
        application->status = auth_user_add(node->auth, &user);
    }
    buf_deinit(&hash);
    respond(node, application);
    return NULL;
}

struct error *node_apply_user_change_password(struct node *node, struct node_application *application)
{
    struct fields fields;
    struct buf hash = {0};
    TRY(read_entry(application, &fields));
    const struct auth_user *user = auth_find_user(node->auth, fields.at[NAME]);
    if (user != NULL && !user->no_password &&
        !read_password(node, application, fields.at[USER_PASSWORD], fields.at[CHANGE_HASHED], &hash))
        application->status = API_ERROR_NO_PASSWORD_USER;
    else
        application->status = auth_user_change_password(node->auth, fields.at[NAME], buf_bytes(&hash));
    if (application->status == API_OK) auth_tokens_forget_user(node->tokens, fields.at[NAME]);
    buf_deinit(&hash);
    respond(node, application);
    return NULL;
}

struct error *node_apply_user_delete(struct node *node, struct node_application *application)
{
    struct fields fields;
    TRY(read_entry(application, &fields));
    application->status = auth_user_delete(node->auth, fields.at[NAME]);
    if (application->status == API_OK) auth_tokens_forget_user(node->tokens, fields.at[NAME]);
    respond(node, application);
    return NULL;
}

/* Administrators see every user, others themselves. */
struct error *node_apply_user_get(struct node *node, struct node_application *application)
{
    struct fields fields;
    TRY(read_entry(application, &fields));
    enum api_error denied = auth_check_admin(node->auth, &application->view.identity);
    const struct auth_user *user = auth_find_user(node->auth, fields.at[NAME]);
    if (denied != API_OK && !bytes_equal(fields.at[NAME], application->view.identity.user))
        application->status = denied;
    else if (user == NULL)
        application->status = API_ERROR_USER_NOT_FOUND;
    respond(node, application);
    for (size_t i = 0; application->status == API_OK && application->response != NULL && i < user->role_count;
         i++)
        wire_bytes_field(application->response, RESPONSE_LIST, user->roles[i]);
    return NULL;
}

struct error *node_apply_user_list(struct node *node, struct node_application *application)
{
    respond(node, application);
    for (size_t i = 0; application->response != NULL && i < auth_user_count(node->auth); i++)
        wire_bytes_field(application->response, RESPONSE_LIST, auth_user_at(node->auth, i)->name);
    return NULL;
}

struct error *node_apply_user_grant_role(struct node *node, struct node_application *application)
{
    struct fields fields;
    TRY(read_entry(application, &fields));
    application->status = auth_user_grant_role(node->auth, fields.at[NAME], fields.at[ROLE_OF_USER]);
    respond(node, application);
    return NULL;
}

struct error *node_apply_user_revoke_role(struct node *node, struct node_application *application)
{
    struct fields fields;
    TRY(read_entry(application, &fields));
    application->status = auth_user_revoke_role(node->auth, fields.at[NAME], fields.at[ROLE_OF_USER]);
    respond(node, application);
    return NULL;
}

/* ---- roles ---- */

struct error *node_apply_role_add(struct node *node, struct node_application *application)
{
    struct fields fields;
    TRY(read_entry(application, &fields));
    application->status = auth_role_add(node->auth, fields.at[NAME]);
    respond(node, application);
    return NULL;
}

struct error *node_apply_role_delete(struct node *node, struct node_application *application)
{
    struct fields fields;
    TRY(read_entry(application, &fields));
    application->status = auth_role_delete(node->auth, fields.at[NAME]);
    respond(node, application);
    return NULL;
}

static void write_permission(struct buf *out, const struct auth_permission *permission)
{
    size_t mark = wire_message_begin(out, RESPONSE_LIST);
    wire_uint_field_nonzero(out, PERMISSION_TYPE, permission->type);
    wire_bytes_field_nonempty(out, PERMISSION_KEY, permission->key);
    wire_bytes_field_nonempty(out, PERMISSION_END, permission->range_end);
    wire_message_end(out, mark);
}

/* The row of the role root says nothing: it permits everything. */
static void write_permissions(struct buf *out, const struct auth_role *role)
{
    const struct auth_permission everything = {.type = AUTH_PERMISSION_READWRITE,
                                               .range_end = BYTES_LITERAL("\0")};
    if (bytes_equal(role->name, BYTES_LITERAL("root"))) {
        write_permission(out, &everything);
        return;
    }
    for (size_t i = 0; i < role->permission_count; i++) write_permission(out, &role->permissions[i]);
}

/* Administrators see every role, others those they have. */
struct error *node_apply_role_get(struct node *node, struct node_application *application)
{
    struct fields fields;
    TRY(read_entry(application, &fields));
    enum api_error denied = auth_check_admin(node->auth, &application->view.identity);
    const struct auth_role *role = auth_find_role(node->auth, fields.at[NAME]);
    const struct auth_user *user = auth_find_user(node->auth, application->view.identity.user);
    if (denied != API_OK && (user == NULL || !auth_user_has_role(user, fields.at[NAME])))
        application->status = denied;
    else if (role == NULL)
        application->status = API_ERROR_ROLE_NOT_FOUND;
    respond(node, application);
    if (application->status == API_OK && application->response != NULL)
        write_permissions(application->response, role);
    return NULL;
}

struct error *node_apply_role_list(struct node *node, struct node_application *application)
{
    respond(node, application);
    for (size_t i = 0; application->response != NULL && i < auth_role_count(node->auth); i++)
        wire_bytes_field(application->response, RESPONSE_LIST, auth_role_at(node->auth, i)->name);
    return NULL;
}

struct error *node_apply_role_grant_permission(struct node *node, struct node_application *application)
{
    struct fields fields, permission;
    TRY(read_entry(application, &fields));
    struct bytes given = fields.at[GRANTED_PERMISSION];
    if (given.data == NULL) {
        application->status = API_ERROR_PERMISSION_NOT_GIVEN;
        return NULL;
    }
    if (!read_fields(given, &permission))
        return error_new(ERROR_CORRUPT, "entry %llu grants a malformed permission",
                         (unsigned long long)application->entry->index);
    const struct auth_permission granted = {
        .type = read_number(given, PERMISSION_TYPE),
        .key = permission.at[PERMISSION_KEY],
        .range_end = permission.at[PERMISSION_END],
    };
    application->status = auth_role_grant_permission(node->auth, fields.at[NAME], &granted);
    respond(node, application);
    return NULL;
}

struct error *node_apply_role_revoke_permission(struct node *node, struct node_application *application)
{
    struct fields fields;
    TRY(read_entry(application, &fields));
    application->status = auth_role_revoke_permission(node->auth, fields.at[NAME], fields.at[REVOKED_KEY],
                                                      fields.at[REVOKED_END]);
    respond(node, application);
    return NULL;
}
