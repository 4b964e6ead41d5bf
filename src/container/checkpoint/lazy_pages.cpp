#include "container/checkpoint/lazy_pages.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/types.hpp"
#include "container/checkpoint/log.hpp"

namespace nagaya::container {
namespace {

constexpr std::pair known_protocol{4u, 2u};
constexpr int tee_pipe_bytes = 4 << 20;  // CRIU's server copies from its largest pipe of pages into one of this size

Result<> new_enough(const criu::Program& program) {
  if (std::pair(program.major, program.minor) >= known_protocol) return {};
  return fail("lazy pages are not possible here", "CRIU is " + program.version() + ", and they need 4.2", "scripts/fetch-criu fetches one into the build, NAGAYA_CRIU names another");
}

}  // namespace

Result<> can_serve_lazy_pages(const criu::Program& program) {
  TRY(new_enough(program));
  TRY_ASSIGN(const auto pipe, host::Fd::pipe());
  if (::fcntl(pipe.second.get(), F_SETPIPE_SZ, tee_pipe_bytes) >= 0) return {};
  return fail_errno("lazy pages are not possible here: CRIU needs a pipe of 4 MiB, which a root without CAP_SYS_RESOURCE may not make", 0,
                    "sysctl fs.pipe-max-size=" + std::to_string(tee_pipe_bytes));
}

Result<> can_fetch_lazy_pages(const criu::Program& program) {
  TRY(new_enough(program));
  TRY_ASSIGN(const criu::Features features, criu::ask_features(program));
  if (features.lazy_pages) return {};
  return fail("lazy pages are not possible here", "this kernel's userfaultfd tells nothing of other processes (CONFIG_USERFAULTFD)");
}

Result<host::Process> fetch_lazy_pages(const criu::Program& program, const std::string& images, int socket) {
  constexpr int their_socket = 20, their_status = 21;
  constexpr const char* log_name = "lazy.log";
  TRY_ASSIGN(auto pipe, host::Fd::pipe());
  TRY_ASSIGN(const host::Fd null, host::Fd::open("/dev/null", O_RDWR));
  host::SpawnOptions options;
  options.program = program.path;
  options.args = {"lazy-pages", "--images-dir", images, "--work-dir", images, "--page-server", "--ps-socket", std::to_string(their_socket),
                  "--status-fd", std::to_string(their_status), "--log-file", log_name, "-v2"};
  options.fds = {{null.get(), 0}, {null.get(), 1}, {null.get(), 2}, {socket, their_socket}, {pipe.second.get(), their_status}};
  options.new_session = true;
  TRY_ASSIGN(host::Process process, host::Process::spawn(options));
  pipe.second.reset();
  u8 ready = 0;
  TRY_ASSIGN(const std::size_t got, host::read_up_to(pipe.first.get(), {&ready, 1}));
  if (got == 1) return process;
  (void)process.wait();
  return fail("CRIU cannot fetch memory", criu::complaints(images + "/" + log_name));
}

bool is_end_of_pages(std::string_view request) {
  constexpr u32 close = 0x1023, force_close = 0x1024;
  if (request.size() != page_request_size) return false;
  u32 what = 0;
  std::memcpy(&what, request.data(), sizeof what);
  // The four bytes behind it fill up to the next number.
  return (what == close || what == force_close) && std::ranges::all_of(request.substr(8), [](char c) { return c == 0; });
}

}  // namespace nagaya::container
