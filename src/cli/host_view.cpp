#include "cli/host_view.hpp"

#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>

#include "cli/launch.hpp"
#include "container/checkpoint/criu.hpp"
#include "container/id_map.hpp"
#include "domain/container_root.hpp"
#include "host/dirs.hpp"
#include "host/fd.hpp"
#include "host/thread.hpp"
#include "net/tool.hpp"

namespace nagaya::cli {
namespace {

/// What changes the calling process is tried by another one.
int errno_in_child(const std::function<int()>& attempt) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) return errno;
  if (child == 0) ::_exit(attempt() & 0x7f);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : EPERM;
}

}  // namespace

std::optional<std::string> HostView::text(const std::string& path) const {
  auto content = host::read_file(root_ + path, MiB);
  if (!content) return std::nullopt;
  std::string out(content->begin(), content->end());
  out.erase(out.find_last_not_of(" \t\n") + 1);
  return out;
}

bool HostView::exists(const std::string& path) const { return ::access((root_ + path).c_str(), F_OK) == 0; }
bool HostView::writable(const std::string& path) const { return ::access((root_ + path).c_str(), W_OK) == 0; }

int HostView::open_error(const std::string& path) const {
  auto file = host::Fd::open(root_ + path, O_RDWR);
  return file ? 0 : file.error().code;
}

int HostView::user_namespace_error() const {
  return errno_in_child([] { return ::unshare(CLONE_NEWUSER) == 0 ? 0 : errno; });
}

int HostView::overlay_error() const {
  // The state folder may not be there yet: its next folder above lies on the same file system.
  std::string place = host::state_dir();
  while (::access(place.c_str(), W_OK) != 0 && place.size() > 1) place = std::filesystem::path(place).parent_path();
  std::string base = place + "/nagaya-probe-XXXXXX";
  if (::mkdtemp(base.data()) == nullptr) return errno;
  const int code = errno_in_child([&] {
    if (auto separate = domain::separate_monitor(); !separate) return separate.error().code != 0 ? separate.error().code : EPERM;
    for (const char* name : {"/lower", "/upper", "/work", "/root"}) ::mkdir((base + name).c_str(), 0755);
    const std::string options = fmt::format("lowerdir={0}/lower,upperdir={0}/upper,workdir={0}/work{1}", base, container::rootless() ? ",userxattr" : "");
    const int refused = ::mount("overlay", (base + "/root").c_str(), "overlay", 0, options.c_str()) == 0 ? 0 : errno;
    if (refused == 0) ::umount2((base + "/root").c_str(), MNT_DETACH);
    std::error_code ignored;
    std::filesystem::remove_all(base, ignored);
    return refused;
  });
  std::error_code ignored;
  std::filesystem::remove_all(base, ignored);
  return code;
}

int HostView::io_uring_error() const {
  std::array<u8, 120> parameters{};  // struct io_uring_params, all zero
  host::Fd ring(static_cast<int>(::syscall(SYS_io_uring_setup, 1, parameters.data())));
  return ring ? 0 : errno;
}

int HostView::userfaultfd_error() const {
  host::Fd fd(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY)));
  return fd ? 0 : errno;
}

bool HostView::fsgsbase() const { return (::getauxval(AT_HWCAP2) & 2) != 0; }
unsigned HostView::cpus() const { return host::usable_cpus(); }
bool HostView::is_root() const { return ::geteuid() == 0; }

bool HostView::has_program(const std::string& name) const {
  return name.starts_with("nagaya-") ? helper_path(name).has_value() : net::have_tool(name);
}

std::string HostView::nftables_problem() const {
  if (!is_root() || !net::have_tool("nft")) return {};
  const auto said = net::run_tool("nft", {"list", "tables"});
  return said ? "" : said.error().why;
}

CriuView HostView::criu() const {
  const auto program = container::criu::find_program();
  if (!program) return {{}, {}, program.error().why, {}};
  CriuView out{program->path, program->version(), {}, {}};
  if (!is_root()) return out;
  if (auto complaints = container::criu::check(*program)) {
    out.complaints = std::move(*complaints);
  } else {
    out.problem = complaints.error().message();
  }
  return out;
}

std::string HostView::engine_probe() const {
  auto said = ask_vmm("--probe");
  return said ? *said : std::string{};
}

}  // namespace nagaya::cli
