/* Every program here does a fixed amount of work and prints one line: its name, seconds, and a checksum that shows the work
   was really done. The same binary runs in guests and on the host. */
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double bench_start;

static double bench_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline void bench_begin(void) { bench_start = bench_now(); }

static inline void bench_end(const char *name, uint64_t checksum) {
  printf("bench %s %.6f %016llx\n", name, bench_now() - bench_start, (unsigned long long)checksum);
}

/* For programs whose instructions this processor does not have. */
static inline void bench_absent(const char *name) { printf("bench %s absent 0\n", name); }

static inline uint64_t bench_random(uint64_t *state) {
  uint64_t x = *state;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return *state = x;
}

/* A cycle through all of `next`, in random order: entry i * stride holds the index of another. `order` is room for `count` numbers. */
static inline void bench_cycle(uint64_t *next, uint32_t *order, int count, int stride, uint64_t seed) {
  for (int i = 0; i < count; ++i) order[i] = (uint32_t)i;
  for (int i = count - 1; i > 0; --i) {
    int j = (int)(bench_random(&seed) % (uint64_t)(i + 1));
    uint32_t swap = order[i];
    order[i] = order[j];
    order[j] = swap;
  }
  for (int i = 0; i < count; ++i) next[(uint64_t)order[i] * (uint64_t)stride] = (uint64_t)order[(i + 1) % count] * (uint64_t)stride;
}
