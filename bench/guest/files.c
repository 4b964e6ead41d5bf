/* Small files on a file system in memory: made, written, looked at, renamed, read, listed, removed. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

int main(void) {
  char folders[][32] = {"/dev/shm/bench-files-XXXXXX", "/tmp/bench-files-XXXXXX"};
  char block[3000], name[32], other[32];
  char *folder = access("/dev/shm", W_OK) == 0 ? folders[0] : folders[1];  /* memory on the host, too */
  if (mkdtemp(folder) == NULL || chdir(folder) != 0) return 1;
  memset(block, 'x', sizeof block);
  uint64_t sum = 0;
  bench_begin();
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 100; ++i) {
      snprintf(name, sizeof name, "file-%d", i);
      int file = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
      if (file < 0 || write(file, block, sizeof block) != sizeof block || close(file) != 0) return 1;
    }
    for (int i = 0; i < 100; ++i) {
      snprintf(name, sizeof name, "file-%d", i);
      snprintf(other, sizeof other, "other-%d", i);
      struct stat facts;
      if (rename(name, other) != 0 || stat(other, &facts) != 0) return 1;
      int file = open(other, O_RDONLY);
      if (file < 0) return 1;
      sum += (uint64_t)facts.st_size + (uint64_t)read(file, block, sizeof block);
      close(file);
    }
    DIR *listing = opendir(".");
    while (readdir(listing) != NULL) ++sum;
    closedir(listing);
    for (int i = 0; i < 100; ++i) {
      snprintf(other, sizeof other, "other-%d", i);
      if (unlink(other) != 0) return 1;
    }
  }
  bench_end("files", sum);
  return chdir("/") != 0 || rmdir(folder) != 0;
}
