// nagaya-procview FOLDER: shows a container its own limits in files of /proc and /sys. It lives as long as who started
// it, and says on descriptor 3 when its files are there.
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <thread>

#include "host/fd.hpp"
#include "procview/procview.hpp"
#include "procview/server/serve.hpp"

namespace nagaya::procview {
namespace {

volatile std::sig_atomic_t asked_to_end = 0;
volatile pid_t worker = 0;

void on_end(int) {
  asked_to_end = 1;
  if (worker > 0) ::kill(worker, SIGTERM);
}

/// To whoever waits for it; where nobody does, on the standard error.
int complain(const Error& error) {
  if (!host::write_all(report_fd, error.message())) std::fprintf(stderr, "nagaya-procview: %s\n", error.message().c_str());
  return 1;
}

/// The worker's life. It ends with its keeper: without one the connection must close, so that readers do not wait.
int worker_process(pid_t keeper, int connection, const std::string& folder, Shared& shared) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != keeper) return 1;
  ::signal(SIGTERM, SIG_DFL);
  ::signal(SIGINT, SIG_DFL);
  // What it keeps is bounded; this holds if that is wrong.
  const rlimit memory{64 * MiB, 64 * MiB}, none{0, 0};
  ::setrlimit(RLIMIT_DATA, &memory);
  ::setrlimit(RLIMIT_CORE, &none);
  const auto done = work(connection, folder, shared);
  if (done) return 0;
  std::fprintf(stderr, "nagaya-procview: %s\n", done.error().message().c_str());
  return 1;
}

/// Workers, one after the other, until one ends by itself.
int keep(int connection, const std::string& folder) {
  void* memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return complain({.what = "cannot map memory", .code = errno});
  auto* shared = static_cast<Shared*>(memory);
  struct sigaction action{};
  action.sa_handler = on_end;
  ::sigaction(SIGTERM, &action, nullptr);
  ::sigaction(SIGINT, &action, nullptr);
  (void)host::write_all(report_fd, "+");
  ::close(report_fd);
  using namespace std::chrono;
  const pid_t self = ::getpid();
  auto last = steady_clock::now() - 1h;
  int status = 0;
  while (asked_to_end == 0) {
    if (steady_clock::now() - last < 200ms)
      std::this_thread::sleep_for(200ms);  // one that cannot start must not take a CPU
    last = steady_clock::now();
    worker = ::fork();
    if (worker == 0) ::_exit(worker_process(self, connection, folder, *shared));
    if (worker < 0) continue;
    while (::waitpid(worker, &status, 0) < 0 && errno == EINTR) {
    }
    worker = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) break;
  }
  unmount_view(folder);
  return 0;
}

int run(const std::string& folder) {
  auto connection = mount_view(folder);
  if (!connection) return complain(connection.error());
  (void)!::chdir("/");
  return keep(connection->get(), folder);
}

}  // namespace
}  // namespace nagaya::procview

int main(int argc, char** argv) {
  if (argc != 2 || argv[1][0] != '/') {
    std::fputs(
        "usage: nagaya-procview FOLDER\nShows a container its own limits in files of /proc and /sys (see "
        "docs/design/procview.md).\n",
        stderr);
    return 125;
  }
  return nagaya::procview::run(argv[1]);
}
