// Works on a folder, in a guest or on the host, for the tests of shared folders:
//   filetool stress FOLDER WRITERS ROUNDS SEED   processes that make, write, map, cut, rename, link and remove files, each of which
//                                                it also keeps in memory and compares
//   filetool sums FOLDER         one line for each entry: kind, mode, size, checksum or target, path; in order of paths
//   filetool write|read FILE MEGABYTES           sequentially, 1 MiB at a time; prints MB/s
//   filetool lines FILE COUNT    appends numbered lines through one descriptor, reading them back through another, slowly
// "good" or "bad" is the last word of stress and lines; the exit code says the same.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum { files_each = 12, most_size = 96 * 1024 };

struct file {
  int there, size, attribute;
  char path[256];
  unsigned char content[most_size];
};

static uint64_t state;
static uint64_t next_random(void) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state;
}
static int below(int limit) { return (int)(next_random() % (uint64_t)limit); }

static int failed(const char* what, const struct file* f) {
  printf("%s %s: %s\n", what, f->path, errno ? strerror(errno) : "not what was written");
  return 0;
}

static int compare(const struct file* f) {
  static unsigned char got[most_size + 1];
  errno = 0;
  int fd = open(f->path, O_RDONLY);
  if (fd < 0) return failed("open", f);
  int at = 0;
  for (int n; at < (int)sizeof got && (n = (int)read(fd, got + at, sizeof got - (size_t)at)) > 0;) at += n;
  close(fd);
  if (at != f->size || memcmp(got, f->content, (size_t)f->size) != 0) return failed("compare", f);
  char value[32] = {0};
  int length = (int)getxattr(f->path, "user.number", value, sizeof value - 1);
  if (length < 0 && errno == EOPNOTSUPP) return 1;
  if ((length < 0 ? -1 : atoi(value)) != f->attribute) return failed("attribute", f);
  return 1;
}

static int change(struct file* f, int offset, int length) {
  for (int i = 0; i < length; ++i) f->content[offset + i] = (unsigned char)next_random();
  if (offset > f->size) memset(f->content + f->size, 0, (size_t)(offset - f->size));
  if (offset + length > f->size) f->size = offset + length;
  int fd = open(f->path, O_RDWR);
  if (fd < 0) return failed("open", f);
  int done = 0;
  if (below(3) == 0 && length > 0) {  // by a shared mapping
    if (ftruncate(fd, f->size) != 0) return failed("grow", f);
    unsigned char* map = mmap(NULL, (size_t)f->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) return failed("map", f);
    memcpy(map + offset, f->content + offset, (size_t)length);
    if (below(2) == 0 && msync(map, (size_t)f->size, MS_SYNC) != 0) return failed("msync", f);
    munmap(map, (size_t)f->size);
    done = length;
  } else {
    done = (int)pwrite(fd, f->content + offset, (size_t)length, offset);
  }
  if (done != length) return failed("write", f);
  if (below(8) == 0 && fsync(fd) != 0) return failed("sync", f);
  close(fd);
  return 1;
}

static int step(struct file* f, const char* folder, int writer, int number, int round) {
  char path[256];
  if (!f->there) {
    // Half of all files lie in the folder that all writers share.
    if (below(2) == 0) {
      snprintf(f->path, sizeof f->path, "%s/common/w%d-f%d-r%d", folder, writer, number, round);
    } else {
      snprintf(f->path, sizeof f->path, "%s/w%d/f%d-r%d", folder, writer, number, round);
    }
    int fd = open(f->path, O_RDWR | O_CREAT | O_EXCL, 0600 | below(64));
    if (fd < 0) return failed("create", f);
    close(fd);
    f->there = 1, f->size = 0, f->attribute = -1;
    return 1;
  }
  switch (below(10)) {
    case 0: case 1: case 2: {
      int offset = below(most_size - 1), length = below(most_size - offset);
      return change(f, offset, length);
    }
    case 3: {  // append
      int length = below(4096);
      if (f->size + length > most_size) return 1;
      int fd = open(f->path, O_WRONLY | O_APPEND);
      if (fd < 0) return failed("open", f);
      for (int i = 0; i < length; ++i) f->content[f->size + i] = (unsigned char)next_random();
      if (write(fd, f->content + f->size, (size_t)length) != length) return failed("append", f);
      f->size += length;
      close(fd);
      return 1;
    }
    case 4: {  // cut or grow
      int size = below(most_size);
      if (truncate(f->path, size) != 0) return failed("truncate", f);
      if (size > f->size) memset(f->content + f->size, 0, (size_t)(size - f->size));
      f->size = size;
      return 1;
    }
    case 5: {  // another name in the other folder
      snprintf(path, sizeof path, "%s/%s/w%d-f%d-m%d", folder, below(2) ? "common" : "w0", writer, number, round);
      if (rename(f->path, path) != 0) return failed("rename", f);
      strcpy(f->path, path);
      return 1;
    }
    case 6: {  // a second name takes the place of the first
      snprintf(path, sizeof path, "%s/w%d/f%d-l%d", folder, writer, number, round);
      if (link(f->path, path) != 0) return failed("link", f);
      struct stat info;
      if (stat(path, &info) != 0 || info.st_nlink != 2) return failed("links of", f);
      if (unlink(f->path) != 0) return failed("unlink", f);
      strcpy(f->path, path);
      return 1;
    }
    case 7: {
      char value[32];
      snprintf(value, sizeof value, "%d", round);
      if (setxattr(f->path, "user.number", value, strlen(value), 0) != 0) {
        if (errno == EOPNOTSUPP) return 1;
        return failed("setxattr", f);
      }
      f->attribute = round;
      return chmod(f->path, 0600 | (mode_t)below(64)) == 0 ? 1 : failed("chmod", f);
    }
    case 8: {
      if (below(3) != 0) return 1;
      // An open file outlives its name.
      int fd = open(f->path, O_RDONLY);
      if (fd < 0 || unlink(f->path) != 0) return failed("unlink", f);
      unsigned char byte;
      if (f->size > 0 && (pread(fd, &byte, 1, f->size - 1) != 1 || byte != f->content[f->size - 1])) return failed("read of removed", f);
      close(fd);
      f->there = 0;
      return 1;
    }
    default:
      return compare(f);
  }
}

static int writer(const char* folder, int number, int rounds, uint64_t seed) {
  struct file* files = calloc(files_each, sizeof *files);
  char path[256];
  state = seed * 0x9e3779b97f4a7c15ull + (uint64_t)number + 1;
  for (int i = 0; i < 20; ++i) next_random();
  snprintf(path, sizeof path, "%s/w%d", folder, number);
  mkdir(path, 0755);
  for (int round = 0; round < rounds; ++round) {
    int n = below(files_each);
    errno = 0;
    if (!step(&files[n], folder, number, n, round)) return 1;
    if (round % 16 == 0) {  // folders and links come and go
      char inner[300], target[64];
      snprintf(inner, sizeof inner, "%s/dir%d", path, round);
      if (mkdir(inner, 0700) != 0 || rmdir(inner) != 0) return printf("folders: %s\n", strerror(errno)), 1;
      snprintf(inner, sizeof inner, "%s/link%d", path, round);
      if (symlink("../common", inner) != 0 || readlink(inner, target, sizeof target) != 9) return printf("links: %s\n", strerror(errno)), 1;
      if (round % 32 != 0 && unlink(inner) != 0) return 1;
    }
  }
  for (int i = 0; i < files_each; ++i) {
    if (files[i].there && !compare(&files[i])) return 1;
  }
  return 0;
}

static int stress(const char* folder, int writers, int rounds, uint64_t seed) {
  char path[256];
  snprintf(path, sizeof path, "%s/common", folder);
  mkdir(path, 0755);
  snprintf(path, sizeof path, "%s/w0", folder);
  mkdir(path, 0755);
  for (int i = 0; i < writers; ++i) {
    if (fork() == 0) {
      int code = writer(folder, i, rounds, seed);
      fflush(stdout);
      _exit(code);
    }
  }
  int good = 1, status;
  while (wait(&status) > 0) good = good && status == 0;
  printf("stress %s\n", good ? "good" : "bad");
  return !good;
}

static int by_name(const struct dirent** a, const struct dirent** b) { return strcmp((*a)->d_name, (*b)->d_name); }

static int sums(const char* root, const char* below_root) {
  char folder[4096];
  struct dirent** entries;
  snprintf(folder, sizeof folder, "%s%s", root, below_root);
  int count = scandir(folder, &entries, NULL, by_name);
  if (count < 0) return printf("%s: %s\n", folder, strerror(errno)), 1;
  for (int i = 0; i < count; ++i) {
    const char* name = entries[i]->d_name;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
    char relative[4096], path[8192], target[256] = "";
    snprintf(relative, sizeof relative, "%s/%s", below_root, name);
    snprintf(path, sizeof path, "%s%s", root, relative);
    struct stat info;
    if (lstat(path, &info) != 0) return printf("%s: %s\n", path, strerror(errno)), 1;
    if (S_ISDIR(info.st_mode)) {
      printf("d %o %s\n", info.st_mode & 07777, relative);
      if (sums(root, relative) != 0) return 1;
    } else if (S_ISLNK(info.st_mode)) {
      if (readlink(path, target, sizeof target - 1) < 0) return 1;
      printf("l %s %s\n", target, relative);
    } else {
      uint64_t sum = 0xcbf29ce484222325ull;  // FNV-1a
      unsigned char buffer[65536];
      int fd = open(path, O_RDONLY);
      for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) {
        for (ssize_t j = 0; j < n; ++j) sum = (sum ^ buffer[j]) * 0x100000001b3ull;
      }
      close(fd);
      printf("f %o %lld %016llx %s\n", info.st_mode & 07777, (long long)info.st_size, (unsigned long long)sum, relative);
    }
  }
  return 0;
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int sequential(const char* path, int megabytes, int write_it) {
  char* buffer = aligned_alloc(4096, 1 << 20);
  memset(buffer, 'b', 1 << 20);
  int fd = open(path, write_it ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY, 0644);
  if (fd < 0) return 1;
  double start = seconds();
  for (int i = 0; i < megabytes; ++i) {
    ssize_t n = write_it ? write(fd, buffer, 1 << 20) : read(fd, buffer, 1 << 20);
    if (n != 1 << 20) return 1;
  }
  if (write_it && fsync(fd) != 0) return 1;
  double took = seconds() - start;
  close(fd);
  printf("%s MBps=%d\n", write_it ? "write" : "read", (int)(megabytes / took));
  return 0;
}

static int lines(const char* path, int count) {
  int out = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644), in = open(path, O_RDONLY);
  char line[32], got[32];
  int good = out >= 0 && in >= 0;
  for (int i = 0; good && i < count; ++i) {
    int length = snprintf(line, sizeof line, "line %06d\n", i);
    good = write(out, line, (size_t)length) == length && read(in, got, (size_t)length) == length && memcmp(line, got, (size_t)length) == 0;
    if (i == 20) puts("under way");
    fflush(stdout);
    usleep(5000);
  }
  if (!good) printf("%s\n", strerror(errno));
  printf("lines %s\n", good ? "good" : "bad");
  return !good;
}

int main(int argc, char** argv) {
  const char* what = argc > 2 ? argv[1] : "";
  if (strcmp(what, "stress") == 0 && argc == 6) return stress(argv[2], atoi(argv[3]), atoi(argv[4]), strtoull(argv[5], NULL, 0));
  if (strcmp(what, "sums") == 0) return sums(argv[2], "");
  if ((strcmp(what, "write") == 0 || strcmp(what, "read") == 0) && argc == 4) return sequential(argv[2], atoi(argv[3]), what[0] == 'w');
  if (strcmp(what, "lines") == 0 && argc == 4) return lines(argv[2], atoi(argv[3]));
  fputs("see the head of filetool.c\n", stderr);
  return 2;
}
