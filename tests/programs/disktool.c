// Works on a block device inside a guest, for the tests of disks:
//   disktool fill|check DEVICE OFFSET LENGTH SEED   4 KiB blocks of pattern.h, past the page cache
//   disktool zeroed DEVICE OFFSET LENGTH            whether all of it is zeroes
//   disktool discard|zero|punch DEVICE OFFSET LENGTH   BLKDISCARD, BLKZEROOUT (space stays), fallocate (space goes)
//   disktool records DEVICE THREADS SEED            writes and discards until killed; says on standard output what is safe
// Offsets and lengths in bytes. The last word on standard output is "good" or "bad"; the exit code says the same.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "pattern.h"

enum { chunk = 256 * 1024 };

static int device;

static int verdict(const char* what, int good) {
  printf("%s %s\n", what, good ? "good" : "bad");
  return good ? 0 : 1;
}

static int fill(uint64_t offset, uint64_t length, uint64_t seed, char* buffer) {
  for (uint64_t done = 0; done < length; done += chunk) {
    uint64_t now = length - done < chunk ? length - done : chunk;
    for (uint64_t i = 0; i < now; i += pattern_block) pattern_fill(buffer + i, seed, (offset + done + i) / pattern_block);
    if (pwrite(device, buffer, now, (off_t)(offset + done)) != (ssize_t)now) {
      printf("write at %llu: %s\n", (unsigned long long)(offset + done), strerror(errno));
      return 0;
    }
  }
  return fsync(device) == 0;
}

static int check(uint64_t offset, uint64_t length, const uint64_t* seed, char* buffer) {
  static const char zeroes[pattern_block];
  for (uint64_t done = 0; done < length; done += chunk) {
    uint64_t now = length - done < chunk ? length - done : chunk;
    if (pread(device, buffer, now, (off_t)(offset + done)) != (ssize_t)now) {
      printf("read at %llu: %s\n", (unsigned long long)(offset + done), strerror(errno));
      return 0;
    }
    for (uint64_t i = 0; i < now; i += pattern_block) {
      uint64_t number = (offset + done + i) / pattern_block;
      if (seed ? !pattern_is(buffer + i, *seed, number) : memcmp(buffer + i, zeroes, pattern_block) != 0) {
        printf("wrong at %llu\n", (unsigned long long)(offset + done + i));
        return 0;
      }
    }
  }
  return 1;
}

struct worker {
  unsigned index;
  uint64_t seed;
};

static void* write_records(void* argument) {
  const struct worker* me = argument;
  char* buffer = aligned_alloc(4096, pattern_block);
  off_t base = (off_t)me->index * record_slots * pattern_block;
  uint64_t n = 0;
  for (;;) {
    for (int i = 0; i < record_group; ++i) {
      struct record_op op = record_operation(me->seed, ++n);
      off_t at = base + (off_t)op.slot * pattern_block;
      if (op.discard) {
        uint64_t range[2] = {(uint64_t)at, (uint64_t)record_run * pattern_block};
        if (ioctl(device, BLKDISCARD, range) != 0) printf("discard: %s\n", strerror(errno));
      } else {
        pattern_fill(buffer, me->seed, n);
        if (pwrite(device, buffer, pattern_block, at) != pattern_block) printf("write: %s\n", strerror(errno));
      }
    }
    if (fsync(device) != 0) printf("fsync: %s\n", strerror(errno));
    printf("safe %u %llu\n", me->index, (unsigned long long)n);
  }
  return NULL;
}

static int records(unsigned threads, uint64_t seed) {
  pthread_t last;
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (unsigned i = 0; i < threads; ++i) {
    struct worker* worker = malloc(sizeof *worker);
    *worker = (struct worker){i, seed + i};
    pthread_create(&last, NULL, write_records, worker);
  }
  pthread_join(last, NULL);
  return 1;
}

int main(int count, char** words) {
  if (count < 5) return 2;
  const char* what = words[1];
  int writes = strcmp(what, "check") != 0 && strcmp(what, "zeroed") != 0;
  device = open(words[2], (writes ? O_RDWR : O_RDONLY) | O_DIRECT);
  if (device < 0) {
    printf("%s: %s\n", words[2], strerror(errno));
    return verdict(what, 0);
  }
  uint64_t a = strtoull(words[3], NULL, 0), b = strtoull(words[4], NULL, 0), seed = count > 5 ? strtoull(words[5], NULL, 0) : 0;
  uint64_t range[2] = {a, b};
  char* buffer = aligned_alloc(4096, chunk);
  if (strcmp(what, "records") == 0) return records((unsigned)a, b);
  if (strcmp(what, "fill") == 0) return verdict(what, fill(a, b, seed, buffer));
  if (strcmp(what, "check") == 0) return verdict(what, check(a, b, &seed, buffer));
  if (strcmp(what, "zeroed") == 0) return verdict(what, check(a, b, NULL, buffer));
  if (strcmp(what, "discard") == 0) return verdict(what, ioctl(device, BLKDISCARD, range) == 0);
  if (strcmp(what, "zero") == 0) return verdict(what, ioctl(device, BLKZEROOUT, range) == 0);
  if (strcmp(what, "punch") == 0) {
    return verdict(what, fallocate(device, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)a, (off_t)b) == 0);
  }
  return 2;
}
