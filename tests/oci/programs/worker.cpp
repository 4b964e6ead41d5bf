// What a saved container has to get right again: memory with a checksum, a tree of processes joined by pipes, files
// open with and without a name, a timer. `worker FILE MIB` writes "N ok" (or "N" and what is wrong) into FILE, ten
// lines a second. `worker listen FILE PORT` and `worker talk FILE ADDRESS PORT` do the same for a TCP connection.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

std::uint64_t next(std::uint64_t& state) { return state = state * 6364136223846793005u + 1442695040888963407u; }

std::uint64_t sum(const std::vector<std::uint64_t>& words) {
  std::uint64_t out = 0;
  for (const std::uint64_t word : words) out = (out << 1 | out >> 63) ^ word;
  return out;
}

/// Adds one to each number that comes, `depth` processes one behind the other.
[[noreturn]] void relay(int in, int out, int depth) {
  int inner[2] = {in, out};
  if (depth > 1) {
    int down[2], up[2];
    if (::pipe(down) != 0 || ::pipe(up) != 0) ::_exit(1);
    if (::fork() == 0) {
      ::close(down[1]);
      ::close(up[0]);
      relay(down[0], up[1], depth - 1);
    }
    ::close(down[0]);
    ::close(up[1]);
    inner[0] = up[0];
    inner[1] = down[1];
  }
  std::uint64_t value = 0;
  while (::read(in, &value, sizeof value) == sizeof value) {
    ++value;
    if (depth > 1) {
      if (::write(inner[1], &value, sizeof value) != sizeof value ||
          ::read(inner[0], &value, sizeof value) != sizeof value)
        break;
    }
    if (::write(out, &value, sizeof value) != sizeof value) break;
  }
  ::_exit(0);
}

int work(const char* path, std::size_t mib) {
  constexpr int depth = 3;
  std::FILE* file = std::fopen(path, "a");
  std::FILE* nameless = std::tmpfile();
  const int timer = ::timerfd_create(CLOCK_MONOTONIC, 0);
  int down[2], up[2];
  if (file == nullptr || nameless == nullptr || timer < 0 || ::pipe(down) != 0 || ::pipe(up) != 0) return 1;
  if (::fork() == 0) {
    ::close(down[1]);
    ::close(up[0]);
    relay(down[0], up[1], depth);
  }
  // Armed anew each time: CRIU restores a periodic one that had fired and was not read yet as one that never fires again.
  const itimerspec tenth{{0, 0}, {0, 100'000'000}};
  std::vector<std::uint64_t> memory(mib << 17);
  std::uint64_t seed = 42;
  for (std::uint64_t& word : memory) word = next(seed);
  std::uint64_t expected = sum(memory);
  std::uint64_t written = 0;
  for (std::uint64_t n = 0;; ++n) {
    const char* wrong = nullptr;
    if (sum(memory) != expected) wrong = "memory";
    // A few pages change at each step.
    for (int i = 0; i < 8; ++i) memory[next(seed) % memory.size()] = next(seed);
    expected = sum(memory);
    std::uint64_t value = n;
    if (::write(down[1], &value, sizeof value) != sizeof value || ::read(up[0], &value, sizeof value) != sizeof value ||
        value != n + depth)
      wrong = "pipes";
    std::fwrite(&n, sizeof n, 1, nameless);
    std::fflush(nameless);
    ++written;
    if (std::ftell(nameless) != static_cast<long>(written * sizeof n)) wrong = "file without a name";
    if (wrong != nullptr)
      std::fprintf(file, "%lu %s\n", static_cast<unsigned long>(n), wrong);
    else
      std::fprintf(file, "%lu ok\n", static_cast<unsigned long>(n));
    std::fflush(file);
    std::uint64_t ticks = 0;
    ::timerfd_settime(timer, 0, &tenth, nullptr);
    if (::read(timer, &ticks, sizeof ticks) != sizeof ticks) return 1;
  }
}

/// One end counts, the other answers with the same number: a lost or doubled byte shows.
int talk(const char* path, int socket, bool first) {
  std::FILE* file = std::fopen(path, "a");
  for (std::uint32_t n = 0;; ++n) {
    std::uint32_t value = n;
    if (first && ::send(socket, &value, sizeof value, MSG_NOSIGNAL) != sizeof value) break;
    if (::recv(socket, &value, sizeof value, MSG_WAITALL) != sizeof value) break;
    if (!first && ::send(socket, &value, sizeof value, MSG_NOSIGNAL) != sizeof value) break;
    std::fprintf(file, "%u %s\n", n, value == n ? "ok" : "wrong number");
    std::fflush(file);
    if (first) ::usleep(50'000);
  }
  std::fprintf(file, "closed\n");
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4 && std::strcmp(argv[1], "listen") == 0) {
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    const int one = 1;
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[3])));
    if (::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(listener, 1) != 0)
      return 2;
    return talk(argv[2], ::accept(listener, nullptr, nullptr), false);
  }
  if (argc == 5 && std::strcmp(argv[1], "talk") == 0) {
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[4])));
    ::inet_pton(AF_INET, argv[3], &address.sin_addr);
    for (int i = 0; ::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0; ++i) {
      if (i == 100) return 2;
      ::usleep(50'000);
    }
    return talk(argv[2], socket, true);
  }
  return argc == 3 ? work(argv[1], static_cast<std::size_t>(std::atoi(argv[2]))) : 2;
}
