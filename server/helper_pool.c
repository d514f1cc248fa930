#include "server/helper_pool.h"

#include "base/container.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

enum { THREADS_MAX = 8 };

struct helper_pool {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    STAILQ_HEAD(, helper_job) jobs;
    size_t waiting, limit;
    size_t idle; /* threads that wait for a job */
    bool ends;
    size_t threads_max, thread_count;
    pthread_t threads[THREADS_MAX];
};

static void deliver(struct loop *loop, struct loop_task *task)
{
    struct helper_job *job = CONTAINER(task, struct helper_job, delivery);
    (void)loop;
    job->done(job);
}

static struct helper_job *next_job(struct helper_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    pool->idle++;
    while (STAILQ_EMPTY(&pool->jobs) && !pool->ends) pthread_cond_wait(&pool->filled, &pool->mutex);
    pool->idle--;
    struct helper_job *job = STAILQ_FIRST(&pool->jobs);
    if (job != NULL) {
        STAILQ_REMOVE_HEAD(&pool->jobs, link);
        pool->waiting--;
    }
    pthread_mutex_unlock(&pool->mutex);
    return job;
}

static void *help(void *argument)
{
    struct helper_pool *pool = argument;
    struct helper_job *job;
    while ((job = next_job(pool)) != NULL) {
        job->run(job);
        loop_post(job->loop, &job->delivery);
    }
    return NULL;
}

struct helper_pool *helper_pool_new(size_t threads, size_t queue_limit)
{
    struct helper_pool *pool = mem_zalloc(1, sizeof(*pool));
    assert(threads > 0);
    pool->threads_max = threads < THREADS_MAX ? threads : THREADS_MAX;
    pool->limit = queue_limit;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->filled, NULL);
    STAILQ_INIT(&pool->jobs);
    return pool;
}

void helper_pool_free(struct helper_pool *pool)
{
    if (pool == NULL) return;
    pthread_mutex_lock(&pool->mutex);
    assert(pool->waiting == 0);
    pool->ends = true;
    pthread_cond_broadcast(&pool->filled);
    pthread_mutex_unlock(&pool->mutex);
    for (size_t i = 0; i < pool->thread_count; i++) pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->filled);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

/* With the mutex held. */
static void start_thread(struct helper_pool *pool)
{
    if (pool->idle > 0 || pool->thread_count == pool->threads_max) return;
    int failure = pthread_create(&pool->threads[pool->thread_count], NULL, help, pool);
    if (failure != 0) {
        if (pool->thread_count == 0) abort(); /* the system has no room for one thread */
        return;                               /* those that are there do it */
    }
    pthread_setname_np(pool->threads[pool->thread_count++], "etcd-helper");
}

bool helper_pool_run(struct helper_pool *pool, struct helper_job *job)
{
    pthread_mutex_lock(&pool->mutex);
    bool taken = pool->waiting < pool->limit;
    if (taken) {
        job->delivery.run = deliver;
        STAILQ_INSERT_TAIL(&pool->jobs, job, link);
        pool->waiting++;
        start_thread(pool);
        pthread_cond_signal(&pool->filled);
    }
    pthread_mutex_unlock(&pool->mutex);
    return taken;
}
