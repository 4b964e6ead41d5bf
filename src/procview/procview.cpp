#include "procview/procview.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <ctime>
#include <filesystem>
#include <utility>

#include "host/fd.hpp"
#include "host/process.hpp"

namespace nagaya::procview {
namespace {

constexpr u64 record_limit = 16 * KiB;

bool is_name(const std::string& name) {
  return !name.empty() && name.size() < 200 && name.front() != '.' &&
         std::all_of(
             name.begin(), name.end(),
             [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.'; });
}

std::string record_path(const std::string& folder, const std::string& name) { return folder + "/containers/" + name; }

Result<> make_folder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return fail(fmt::format("cannot make '{}'", path), error.message());
  return {};
}

}  // namespace

const std::vector<std::string>& shown_files() {
  static const std::vector<std::string> files = {"/proc/cpuinfo",   "/proc/meminfo",  "/proc/stat",
                                                 "/proc/uptime",    "/proc/loadavg",  "/proc/swaps",
                                                 "/proc/diskstats", "/proc/slabinfo", "/sys/devices/system/cpu/online"};
  return files;
}

Result<Server> Server::start(const std::string& folder, const std::string& program) {
  // Asked here already: the caller can say what is missing without a process more.
  if (const host::Fd device(::open("/dev/fuse", O_RDWR | O_CLOEXEC)); !device) {
    return fail_errno("containers see the host's /proc/meminfo and its like: cannot open /dev/fuse", 0,
                      errno == ENOENT ? "load the module: modprobe fuse" : "let this user open it, or run it as root");
  }
  TRY(make_folder(folder));
  TRY_ASSIGN(auto report, host::Fd::pipe());
  Server server;
  server.folder_ = folder;
  TRY_ASSIGN(server.process_, host::Process::spawn({.program = program,
                                                    .args = {folder},
                                                    .fds = {{report.second.get(), report_fd}},
                                                    .new_session = true}));
  server.report_ = std::move(report.first);
  return server;
}

Result<> Server::ready() {
  if (!report_) return {};
  const auto said = host::read_all(report_.get(), 4096, "nagaya-procview");
  report_.reset();
  const std::string text = said ? std::string(said->begin(), said->end()) : said.error().message();
  if (text == "+") return {};
  return fail("nagaya-procview did not start", text.empty() ? "it ended early" : text);
}

Server& Server::operator=(Server&& other) noexcept {
  std::swap(folder_, other.folder_);
  std::swap(process_, other.process_);
  std::swap(report_, other.report_);
  return *this;
}

Server::~Server() {
  if (process_.pid() <= 0) return;
  process_ = {};  // killed, and its worker with it
  unmount_view(folder_);
}

void unmount_view(const std::string& folder) {
  const std::string place = folder + "/mnt";
  while (::umount2(place.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
  }
}

std::string write_record(const Container& c) {
  return fmt::format("1 {} {} {}\n{}\n", c.id, c.started, c.systemd ? "systemd" : "files", c.cgroup);
}

Result<Container> read_record(const std::string& folder, const std::string& name) {
  if (!is_name(name)) return fail(fmt::format("container '{}'", name), "no such name");
  TRY_ASSIGN(const auto bytes, host::read_file(record_path(folder, name), record_limit));
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto line = text.find('\n');
  const auto wrong = [&] { return fail(fmt::format("the record of container '{}'", name), "is not one"); };
  if (line == std::string_view::npos || !text.starts_with("1 ") || !text.ends_with('\n')) return wrong();
  Container container{.name = name};
  const char* at = text.data() + 2;
  const char* const end = text.data() + line;
  for (u64* value : {&container.id, &container.started}) {
    const auto got = std::from_chars(at, end, *value);
    if (got.ec != std::errc{} || got.ptr == end || *got.ptr != ' ') return wrong();
    at = got.ptr + 1;
  }
  container.systemd = std::string_view(at, static_cast<std::size_t>(end - at)) == "systemd";
  container.cgroup = text.substr(line + 1, text.size() - line - 2);
  return container;
}

Result<std::vector<Bind>> add(const std::string& folder, const Container& container) {
  if (!is_name(container.name)) return fail(fmt::format("container '{}'", container.name), "no name of a file");
  if (container.cgroup.empty() || container.cgroup.find('\n') != std::string::npos)
    return fail(fmt::format("cgroup path '{}'", container.cgroup), "no such path");
  Container made = container;
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  made.id = static_cast<u64>(now.tv_sec) * 1'000'000'000 + static_cast<u64>(now.tv_nsec);
  if (made.started == 0) made.started = made.id;
  TRY(make_folder(folder + "/containers"));
  const std::string text = write_record(made);
  TRY(host::replace_file(record_path(folder, made.name), {reinterpret_cast<const u8*>(text.data()), text.size()}));
  std::vector<Bind> binds;
  for (const auto& file : shown_files()) binds.push_back({folder + "/mnt/" + made.name + file, file});
  return binds;
}

Result<> remove(const std::string& folder, const std::string& name) {
  if (!is_name(name)) return fail(fmt::format("container '{}'", name), "no such name");
  if (::unlink(record_path(folder, name).c_str()) != 0 && errno != ENOENT)
    return fail_errno(fmt::format("cannot remove '{}'", record_path(folder, name)));
  return {};
}

}  // namespace nagaya::procview
