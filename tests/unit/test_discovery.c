/* What members read out of the registry of a discovery service. */
#include "server/discovery.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct discovery_registry registry;

static void add(struct arena *memory, const char *key, const char *urls, int64_t revision)
{
    struct error *error =
        discovery_registry_add(&registry, memory, bytes_from_string(key), bytes_from_string(urls), revision);
    if (error != NULL) fail_msg("%s", error->text);
}

static void the_first_to_come_found_the_cluster(void **state)
{
    (void)state;
    struct arena *memory = arena_new();
    registry.count = 0;
    add(memory, "/m/c", "c=http://10.0.0.3:2380,c=http://[::1]:2380", 30);
    add(memory, "/m/a", "a=http://10.0.0.1:2380", 10);
    add(memory, "/m/a", "a=http://10.9.9.9:2380", 40); /* once is enough */
    assert_false(discovery_registry_is_full(&registry, 3, "/m/b"));
    add(memory, "/m/b", "b=http://10.0.0.2:2380", 20);
    assert_string_equal(discovery_registry_cluster(&registry, 2, memory),
                        "a=http://10.0.0.1:2380,b=http://10.0.0.2:2380");
    assert_string_equal(discovery_registry_cluster(&registry, 3, memory),
                        "a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,c=http://10.0.0.3:2380,c=http://"
                        "[::1]:2380");
    /* Who is among the first so many has a place, whoever came later. */
    assert_false(discovery_registry_is_full(&registry, 2, "/m/b"));
    assert_true(discovery_registry_is_full(&registry, 2, "/m/c"));
    assert_true(discovery_registry_is_full(&registry, 3, "/m/d"));
    assert_false(discovery_registry_is_full(&registry, 4, "/m/d"));
    arena_free(memory);
}

static void what_is_no_member_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"nonsense", "a=", "a=ftp://10.0.0.1:1", "\xff"};
    struct arena *memory = arena_new();
    registry.count = 0;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct error *error =
            discovery_registry_add(&registry, memory, BYTES_LITERAL("/m/a"), bytes_from_string(wrong[i]), 1);
        if (error == NULL) fail_msg("%s was accepted", wrong[i]);
        assert_non_null(strstr(error->text, "discovery: /m/a is not a member: "));
        error_free(error);
    }
    assert_int_equal(registry.count, 0);
    arena_free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_to_come_found_the_cluster),
        cmocka_unit_test(what_is_no_member_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
