/* What the dashboard concludes from answers, failures and time. */
#include "tui/model.h"
#include "tui/once.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)
#define WALL   (INT64_C(1700000000) * SECOND)

static int64_t now;

static struct model *new_model(const char *const *endpoints, size_t count)
{
    struct model *model = model_new(SECOND);
    for (size_t i = 0; i < count; i++) model_add_endpoint(model, endpoints[i]);
    now = 100 * SECOND;
    return model;
}

static void refresh(struct model *model)
{
    now += SECOND;
    model_refresh(model, now, WALL + now);
}

static void answer_status(struct model *model, size_t row, uint64_t id, uint64_t leader, uint64_t term)
{
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__StatusResponse status = ETCDSERVERPB__STATUS_RESPONSE__INIT;
    header.cluster_id = 0xc1;
    header.member_id = id;
    header.revision = 10;
    status.header = &header;
    status.version = (char *)(uintptr_t) "3.6.14";
    status.leader = leader;
    status.raftterm = term;
    status.raftindex = status.raftappliedindex = 50;
    status.dbsize = 90 << 20;
    status.dbsizeinuse = 80 << 20;
    status.dbsizequota = 100 << 20;
    model_apply_status(model, model->members[row]->serial, &status, 400000, now);
}

static void list_members(struct model *model, size_t count)
{
    Etcdserverpb__Member members[3], *list[3];
    char *clients[3] = {(char *)(uintptr_t) "http://h1:2379", (char *)(uintptr_t) "http://h2:2379",
                        (char *)(uintptr_t) "http://h3:2379"};
    static const char *const names[] = {"m1", "m2", "m3"};
    for (size_t i = 0; i < count; i++) {
        etcdserverpb__member__init(&members[i]);
        members[i].id = i + 1;
        members[i].name = (char *)(uintptr_t)names[i];
        members[i].n_clienturls = 1;
        members[i].clienturls = &clients[i];
        list[i] = &members[i];
    }
    Etcdserverpb__MemberListResponse response = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;
    response.n_members = count;
    response.members = list;
    model_apply_members(model, &response, now, WALL + now);
}

static bool has_finding(const struct model *model, const char *text)
{
    for (size_t i = 0; i < model->finding_count; i++)
        if (strstr(model->findings[i].text, text) != NULL) return true;
    return false;
}

static bool has_event(const struct model *model, const char *text)
{
    for (size_t i = 0; i < model->event_count; i++)
        if (strstr(model_event_at(model, i)->text, text) != NULL) return true;
    return false;
}

/* Three members, reached by one endpoint first. */
static struct model *healthy_cluster(void)
{
    static const char *const endpoints[] = {"h1:2379"};
    struct model *model = new_model(endpoints, 1);
    answer_status(model, 0, 1, 2, 7);
    list_members(model, 3);
    assert_int_equal(model->member_count, 3);
    answer_status(model, 1, 2, 2, 7);
    answer_status(model, 2, 3, 2, 7);
    refresh(model);
    return model;
}

static void the_members_of_a_cluster_are_found_from_one_endpoint(void **state)
{
    (void)state;
    struct model *model = healthy_cluster();
    assert_int_equal(model->health, MODEL_HEALTHY);
    assert_int_equal(model->voters_up, 3);
    assert_string_equal(model->members[0]->name, "m1");
    assert_string_equal(model->members[0]->endpoint, "h1:2379"); /* as the user wrote it */
    assert_string_equal(model->members[2]->endpoint, "http://h3:2379");
    assert_int_equal(model->leader, 2);
    assert_false(model->leader_since_is_known);
    assert_int_equal(once_status(model), 0);
    model_free(model);
}

static void two_ways_to_one_member_are_one_row(void **state)
{
    (void)state;
    static const char *const endpoints[] = {"localhost:2379", "127.0.0.1:2379", "http://localhost:2379/"};
    struct model *model = new_model(endpoints, 3);
    assert_int_equal(model->member_count, 2);
    answer_status(model, 0, 5, 5, 1);
    answer_status(model, 1, 5, 5, 1);
    assert_int_equal(model->member_count, 1);
    model_free(model);
}

static void members_wait_until_endpoints_have_said_who_they_are(void **state)
{
    (void)state;
    static const char *const endpoints[] = {"alias-of-one:2379"};
    struct model *model = new_model(endpoints, 1);
    list_members(model, 3);
    assert_int_equal(model->member_count, 1);
    assert_true(model->member_list.answered == 0); /* to be asked again */
    answer_status(model, 0, 2, 2, 7);
    list_members(model, 3);
    assert_int_equal(model->member_count, 3);
    assert_string_equal(model->members[0]->name, "m2");
    model_free(model);
}

static void a_member_that_goes_away_is_down_and_comes_back(void **state)
{
    (void)state;
    struct model *model = healthy_cluster();
    model_fail_status(model, model->members[2]->serial, "connection refused");
    answer_status(model, 0, 1, 2, 7);
    answer_status(model, 1, 2, 2, 7);
    refresh(model);
    assert_false(model->members[2]->is_up);
    assert_int_equal(model->health, MODEL_DEGRADED);
    assert_true(has_finding(model, "m3 does not answer (connection refused)"));
    assert_true(has_event(model, "m3 does not answer"));
    model_fail_status(model, model->members[2]->serial, "etcdserver: permission denied");
    model_refresh(model, now, WALL + now);
    assert_true(has_finding(model, "m3 refuses to answer (permission denied)"));
    assert_int_equal(once_status(model), 1);
    assert_true(model_age(model, &model->members[2]->status) == 2 * SECOND);

    for (size_t i = 0; i < 3; i++) answer_status(model, i, i + 1, 2, 7);
    refresh(model);
    assert_int_equal(model->health, MODEL_HEALTHY);
    assert_true(has_event(model, "m3 answers again"));
    assert_false(has_finding(model, "does not answer"));
    model_free(model);
}

static void silence_makes_old_answers_unknown(void **state)
{
    (void)state;
    struct model *model = healthy_cluster();
    for (int i = 0; i < 3; i++) refresh(model);
    assert_true(model->members[0]->is_fresh); /* an answer may take its time */
    refresh(model);
    refresh(model);
    assert_false(model->members[0]->is_fresh);
    assert_true(isnan(model->members[0]->quota_used));
    assert_int_equal(model->health, MODEL_CRITICAL);
    assert_true(has_finding(model, "quorum lost"));
    model_free(model);
}

static void leader_changes_become_events(void **state)
{
    (void)state;
    struct model *model = healthy_cluster();
    for (size_t i = 0; i < 3; i++) answer_status(model, i, i + 1, 0, 8);
    refresh(model);
    assert_int_equal(model->health, MODEL_CRITICAL);
    assert_true(has_finding(model, "no leader"));
    assert_true(has_event(model, "leader m2 lost"));
    for (size_t i = 0; i < 3; i++) answer_status(model, i, i + 1, 1, 8);
    refresh(model);
    assert_true(has_event(model, "leader m1 (term 8)"));
    assert_true(model->leader_since_is_known);
    assert_int_equal(model->health, MODEL_HEALTHY);
    model_free(model);
}

static void an_old_leader_of_a_lower_term_does_not_count(void **state)
{
    (void)state;
    struct model *model = healthy_cluster();
    answer_status(model, 0, 1, 3, 9);
    answer_status(model, 1, 2, 2, 7); /* cut off, and does not know it */
    answer_status(model, 2, 3, 3, 9);
    refresh(model);
    assert_int_equal(model->leader, 3);
    assert_int_equal(model->term, 9);
    model_free(model);
}

static void alarms_and_quota_are_found(void **state)
{
    (void)state;
    struct model *model = healthy_cluster();
    assert_true(has_finding(model, "quota above 80 %: m1 uses 90%"));
    Etcdserverpb__AlarmMember alarm = ETCDSERVERPB__ALARM_MEMBER__INIT, *alarms = &alarm;
    alarm.memberid = 2;
    alarm.alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE;
    Etcdserverpb__AlarmResponse response = ETCDSERVERPB__ALARM_RESPONSE__INIT;
    response.n_alarms = 1;
    response.alarms = &alarms;
    model_apply_alarms(model, &response, now);
    refresh(model);
    assert_int_equal(model->health, MODEL_DEGRADED);
    assert_true(has_finding(model, "alarm NOSPACE by m2"));
    assert_int_equal(model->findings[0].severity, MODEL_ALERT); /* the worst first */
    assert_true(has_event(model, "m2 NOSPACE alarm raised"));
    assert_true(model_alarms_changed(model)); /* no status speaks of it */
    response.n_alarms = 0;
    model_apply_alarms(model, &response, now);
    assert_false(model_alarms_changed(model));
    assert_true(has_event(model, "m2 NOSPACE alarm cleared"));
    model_free(model);
}

static void findings_keep_since_when_they_hold(void **state)
{
    (void)state;
    struct model *model = healthy_cluster();
    int64_t since = model->findings[0].since;
    for (size_t i = 0; i < 3; i++) answer_status(model, i, i + 1, 2, 7);
    refresh(model);
    assert_true(model->findings[0].since == since && since < model->wall);
    model_free(model);
}

static void scrape_member(struct model *model, size_t row, double puts, double fast, double slow)
{
    struct scrape scrape;
    scrape_read(&scrape, BYTES_EMPTY, now);
    scrape.puts = puts;
    histogram_add(&scrape.fsync, 0.001, fast);
    histogram_add(&scrape.fsync, 0.032, fast + slow);
    histogram_add(&scrape.fsync, INFINITY, fast + slow);
    model_apply_metrics(model, model->members[row]->serial, &scrape);
}

static void rates_and_percentiles_come_from_two_scrapes(void **state)
{
    (void)state;
    struct model *model = healthy_cluster();
    scrape_member(model, 0, 100, 1000, 0);
    refresh(model);
    assert_true(model->members[0]->has_metrics);
    assert_true(isnan(model->members[0]->put_rate)); /* one is not enough */
    scrape_member(model, 0, 150, 1000, 10);
    refresh(model);
    assert_true(model->members[0]->put_rate == 50);
    assert_true(model->members[0]->fsync > 0.03);
    assert_ptr_equal(model->fsync_worst_member, model->members[0]);
    assert_true(has_finding(model, "m1 disk is slow"));
    assert_true(has_event(model, "m1 WAL fsync p99 crossed 10ms"));
    /* Across a gap nothing is compared. */
    model_fail_metrics(model, model->members[0]->serial, "HTTP status 404");
    refresh(model);
    assert_false(model->members[0]->has_metrics);
    assert_true(isnan(model->put_rate));
    scrape_member(model, 0, 10, 1000, 10);
    refresh(model);
    assert_true(isnan(model->members[0]->put_rate));
    model_free(model);
}

static void members_that_leave_are_gone(void **state)
{
    (void)state;
    struct model *model = healthy_cluster();
    list_members(model, 2);
    assert_int_equal(model->member_count, 2);
    assert_true(has_event(model, "member m3 left"));
    list_members(model, 3);
    assert_true(has_event(model, "member m3 joined"));
    model_free(model);
}

static void the_overview_prints_at_any_width(void **state)
{
    (void)state;
    struct model *model = healthy_cluster();
    static const int widths[] = {1, 20, 60, 80, 120, 300};
    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
        struct buf out = {0};
        once_text(model, widths[i], true, &out);
        size_t line = 0;
        for (size_t k = 0; k < out.size; k++) {
            line = out.data[k] == '\n' ? 0 : line + 1;
            assert_true(line <= (size_t)widths[i]);
            assert_true(out.data[k] < 0x80);
        }
        if (widths[i] >= 60) {
            assert_non_null(strstr(buf_string(&out), "HEALTHY 3/3"));
            assert_non_null(strstr(buf_string(&out), "m2"));
        }
        buf_deinit(&out);
    }
    struct buf json = {0};
    once_json(model, &json);
    assert_non_null(strstr(buf_string(&json), "\"health\": \"HEALTHY\""));
    buf_deinit(&json);
    model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_members_of_a_cluster_are_found_from_one_endpoint),
        cmocka_unit_test(two_ways_to_one_member_are_one_row),
        cmocka_unit_test(members_wait_until_endpoints_have_said_who_they_are),
        cmocka_unit_test(a_member_that_goes_away_is_down_and_comes_back),
        cmocka_unit_test(silence_makes_old_answers_unknown),
        cmocka_unit_test(leader_changes_become_events),
        cmocka_unit_test(an_old_leader_of_a_lower_term_does_not_count),
        cmocka_unit_test(alarms_and_quota_are_found),
        cmocka_unit_test(findings_keep_since_when_they_hold),
        cmocka_unit_test(rates_and_percentiles_come_from_two_scrapes),
        cmocka_unit_test(members_that_leave_are_gone),
        cmocka_unit_test(the_overview_prints_at_any_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
