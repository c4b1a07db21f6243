#include "runtime/data_crew.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

typedef struct Work {
    void (*run)(void *user, int64_t i);
    void *user;
    int64_t n;
} Work;

struct rt__crew {
    pthread_mutex_t lock;
    pthread_cond_t begun, done;
    Work work;
    uint64_t rounds; // of work, begun so far
    int busy;        // threads that are not through with the last one
    bool ends;
    _Atomic int64_t next; // of the work that nobody has taken
    int n;
    pthread_t threads[];
};

static void take_part(rt__crew *c, const Work *w)
{
    for (int64_t i; (i = atomic_fetch_add(&c->next, 1)) < w->n;)
        w->run(w->user, i);
}

static void *be_ready(void *user)
{
    rt__crew *c = user;
    uint64_t seen = 0;
    pthread_mutex_lock(&c->lock);
    while (true) {
        while (c->rounds == seen && !c->ends)
            pthread_cond_wait(&c->begun, &c->lock);
        if (c->ends)
            break;
        seen = c->rounds;
        Work w = c->work;
        pthread_mutex_unlock(&c->lock);
        take_part(c, &w);
        pthread_mutex_lock(&c->lock);
        if (!--c->busy)
            pthread_cond_signal(&c->done);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

rt__crew *rt__crew_open(int n)
{
    rt__crew *c = n > 0 ? calloc(1, sizeof *c + (size_t)n * sizeof *c->threads) : NULL;
    sigset_t all, before;
    if (!c)
        return NULL;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->begun, NULL);
    pthread_cond_init(&c->done, NULL);
    sigfillset(&all); // signals are the caller's
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (c->n < n && !pthread_create(&c->threads[c->n], NULL, be_ready, c))
        c->n++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return c;
}

void rt__crew_close(rt__crew *crew)
{
    if (!crew)
        return;
    pthread_mutex_lock(&crew->lock);
    crew->ends = true;
    pthread_cond_broadcast(&crew->begun);
    pthread_mutex_unlock(&crew->lock);
    for (int i = 0; i < crew->n; i++)
        pthread_join(crew->threads[i], NULL);
    pthread_cond_destroy(&crew->begun);
    pthread_cond_destroy(&crew->done);
    pthread_mutex_destroy(&crew->lock);
    free(crew);
}

void rt__crew_run(rt__crew *crew, int64_t n, void work(void *user, int64_t i), void *user)
{
    const Work w = {work, user, n};
    if (!crew) {
        for (int64_t i = 0; i < n; i++)
            work(user, i);
        return;
    }
    pthread_mutex_lock(&crew->lock);
    crew->work = w;
    crew->busy = crew->n;
    crew->rounds++;
    atomic_store(&crew->next, 0);
    pthread_cond_broadcast(&crew->begun);
    pthread_mutex_unlock(&crew->lock);
    take_part(crew, &w);
    pthread_mutex_lock(&crew->lock);
    while (crew->busy)
        pthread_cond_wait(&crew->done, &crew->lock);
    pthread_mutex_unlock(&crew->lock);
}
