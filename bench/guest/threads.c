/* Two threads that hand a turn to each other through a mutex and a condition: futexes and context switches. */
#include <pthread.h>

#include "bench.h"

enum { turns = 10000 };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn;
static uint64_t sum;

static void *play(void *which) {
  int me = (int)(intptr_t)which;
  pthread_mutex_lock(&mutex);
  for (int i = 0; i < turns; ++i) {
    while (turn != me) pthread_cond_wait(&changed, &mutex);
    sum = sum * 3 + (uint64_t)me;
    turn = 1 - me;
    pthread_cond_signal(&changed);
  }
  pthread_mutex_unlock(&mutex);
  return NULL;
}

int main(void) {
  pthread_t other;
  bench_begin();
  if (pthread_create(&other, NULL, play, (void *)1) != 0) return 1;
  play(NULL);
  pthread_join(other, NULL);
  bench_end("threads", sum);
}
