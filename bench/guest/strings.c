/* What programs do with text: the C library's string functions, numbers printed and read, words counted. */
#include <string.h>

#include "bench.h"

int main(void) {
  static char line[4096];
  uint64_t sum = 0;
  bench_begin();
  for (int round = 0; round < 9000; ++round) {
    char *end = line;
    for (int i = 0; i < 40; ++i) end += snprintf(end, (size_t)(line + sizeof line - end), "key%d=%d.%03d;", i, round * i, (round + i) % 1000);
    for (char *word = strtok(line, ";"); word != NULL; word = strtok(NULL, ";")) {
      char *value = strchr(word, '=');
      if (value == NULL || strncmp(word, "key", 3) != 0) return 1;
      sum = sum * 33 + (uint64_t)strtol(value + 1, &value, 10) + strlen(value);
    }
  }
  bench_end("strings", sum);
}
