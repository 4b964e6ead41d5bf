// Content that can be recognised: 4 KiB blocks that hold their own number and a seed, the rest computed from both. Shared by
// programs inside guests (C) and the tests outside (C++).
#pragma once
#include <stdint.h>
#include <string.h>

enum { pattern_block = 4096 };

static inline uint64_t pattern_mix(uint64_t x) {  // splitmix64's finisher
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

static inline void pattern_fill(void* block, uint64_t seed, uint64_t number) {
  uint64_t words[pattern_block / 8];
  words[0] = seed;
  words[1] = number;
  uint64_t x = pattern_mix(seed ^ pattern_mix(number));
  for (int i = 2; i < pattern_block / 8; ++i) words[i] = x = x * 6364136223846793005u + 1442695040888963407u;
  memcpy(block, words, pattern_block);
}

static inline int pattern_is(const void* block, uint64_t seed, uint64_t number) {
  unsigned char want[pattern_block];
  pattern_fill(want, seed, number);
  return memcmp(block, want, pattern_block) == 0;
}

// The work of one thread of 'records': operation `n` of `seed` changes a slot; numbers begin with 1. Slots of the upper half
// are also discarded, in runs of 16 (64 KiB).
enum { record_slots = 1024, record_group = 8, record_run = 16 };
struct record_op {
  int discard;
  uint32_t slot;
};
static inline struct record_op record_operation(uint64_t seed, uint64_t n) {
  uint64_t r = pattern_mix(seed * 1000003 + n);
  struct record_op op = {0, (uint32_t)(r % record_slots)};
  if (op.slot >= record_slots / 2 && (r >> 32) % 4 == 0) {
    op.discard = 1;
    op.slot -= op.slot % record_run;
  }
  return op;
}
