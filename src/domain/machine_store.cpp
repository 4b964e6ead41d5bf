#include "domain/machine_store.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <filesystem>

#include "base/scope.hpp"
#include "domain/machine_group.hpp"
#include "host/dirs.hpp"

namespace nagaya::domain {
namespace {

namespace fs = std::filesystem;

constexpr u64 longest_definition = 1 * MiB;

Result<> make_folders(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return fail_errno(fmt::format("cannot make the folder '{}'", path), error.value());
  return {};
}

/// Locks of the open file: a child that inherits the descriptor holds it, too; and one can look without taking it.
struct flock whole_file() {
  struct flock out{};
  out.l_type = F_WRLCK;
  out.l_whence = SEEK_SET;
  return out;
}

std::string now_utc() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

Error unknown_machine(const std::string& name) {
  return {fmt::format("there is no machine '{}'", name), {}, "'nagaya ps -a' lists them"};
}

}  // namespace

MachineStore::MachineStore() : MachineStore(host::state_dir(), host::runtime_dir()) {}

MachinePlaces MachineStore::places_of(const std::string& name) const {
  return {.folder = state_ + "/domains/" + name, .runtime = runtime_ + "/vm/" + name};
}

Result<Machine> MachineStore::create(MachineSpec spec) const {
  if (spec.created.empty()) spec.created = now_utc();
  TRY(spec.validate());
  Machine out{std::move(spec), {}};
  out.places = places_of(out.spec.name);
  TRY(make_folders(state_ + "/domains"));
  if (::mkdir(out.places.folder.c_str(), 0700) != 0) {
    if (errno == EEXIST) {
      return fail(fmt::format("'{}' exists", out.spec.name), {},
                  fmt::format("'nagaya start {0}' starts it, 'nagaya rm {0}' removes it", out.spec.name));
    }
    return fail_errno(fmt::format("cannot make the folder '{}'", out.places.folder));
  }
  ScopeExit undo([&] {
    std::error_code ignored;
    fs::remove_all(out.places.folder, ignored);
  });
  const std::string text = out.spec.to_json();
  TRY(host::replace_file(out.places.definition(), {reinterpret_cast<const u8*>(text.data()), text.size()}));
  undo.release();
  return out;
}

Result<Machine> MachineStore::load(const std::string& name) const {
  Machine out{{}, places_of(name)};
  TRY_ASSIGN(const auto text, host::read_file(out.places.definition(), longest_definition));
  auto spec = MachineSpec::from_json({reinterpret_cast<const char*>(text.data()), text.size()});
  if (!spec) return std::unexpected(std::move(spec.error()).within(out.places.definition()));
  if (spec->name != name) return fail(out.places.definition(), "it names another machine");
  out.spec = std::move(*spec);
  return out;
}

Result<Machine> MachineStore::find(const std::string& name) const {
  if (!proto::plain_name(name)) return std::unexpected(unknown_machine(name));
  std::error_code error;
  if (fs::exists(places_of(name).definition(), error)) return load(name);
  std::vector<std::string> matches;
  for (const auto& entry : fs::directory_iterator(state_ + "/domains", error)) {
    const std::string other = entry.path().filename().string();
    if (other.starts_with(name) && fs::exists(places_of(other).definition(), error)) matches.push_back(other);
  }
  if (matches.size() == 1) return load(matches[0]);
  if (matches.empty()) return std::unexpected(unknown_machine(name));
  std::ranges::sort(matches);
  return fail(fmt::format("'{}' is the beginning of more than one machine's name", name), fmt::format("{}", fmt::join(matches, ", ")));
}

Result<std::vector<Machine>> MachineStore::list(std::vector<std::string>* unreadable) const {
  std::vector<Machine> out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(state_ + "/domains", error)) {
    const std::string name = entry.path().filename().string();
    std::error_code ignored;
    // A folder with another definition is a container's.
    if (!proto::plain_name(name) || fs::exists(places_of(name).folder + "/container.json", ignored)) continue;
    if (auto machine = load(name)) {
      out.push_back(std::move(*machine));
    } else if (unreadable != nullptr) {
      unreadable->push_back(machine.error().message());
    }
  }
  if (error && error.value() != ENOENT) return fail_errno(fmt::format("cannot read '{}/domains'", state_), error.value());
  std::ranges::sort(out, {}, [](const Machine& m) { return m.spec.name; });
  return out;
}

Result<host::Fd> MachineStore::lock(const Machine& machine) const {
  const std::string path = machine.places.folder + "/lock";
  TRY_ASSIGN(host::Fd fd, host::Fd::open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  struct flock whole = whole_file();
  if (::fcntl(fd.get(), F_OFD_SETLK, &whole) != 0) {
    if (errno != EAGAIN) return fail_errno(fmt::format("cannot lock '{}'", path));
    return fail(fmt::format("machine '{}' runs already", machine.spec.name), {}, fmt::format("'nagaya stop {}' ends it", machine.spec.name));
  }
  TRY(make_folders(machine.places.runtime));
  if (::chmod(machine.places.runtime.c_str(), 0700) != 0) return fail_errno(fmt::format("cannot close '{}' to others", machine.places.runtime));
  return fd;
}

bool MachineStore::running(const Machine& machine) const {
  auto fd = host::Fd::open(machine.places.folder + "/lock", O_RDONLY | O_NOFOLLOW);
  struct flock whole = whole_file();
  return fd && ::fcntl(fd->get(), F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
}

Result<> MachineStore::remove(const Machine& machine) const {
  TRY_ASSIGN(host::Fd held, lock(machine));
  return remove(machine, std::move(held));
}

Result<> MachineStore::remove(const Machine& machine, host::Fd /*held*/) const {
  std::error_code error;
  remove_left_group(machine);
  fs::remove_all(machine.places.runtime, error);
  // Renamed first: what was begun to be removed is no machine any more.
  const std::string gone = state_ + "/domains/." + machine.spec.name + ".removed";
  fs::remove_all(gone, error);
  fs::rename(machine.places.folder, gone, error);
  if (!error) fs::remove_all(gone, error);
  if (error) return fail_errno(fmt::format("cannot remove machine '{}'", machine.spec.name), error.value());
  return {};
}

std::string MachineStore::fresh_name(const std::string& image) const {
  std::string stem;
  for (const char c : image.substr(image.rfind('/') + 1)) {
    if (c == ':' || c == '@' || stem.size() == 32) break;
    if (proto::plain_name("x" + std::string(1, c))) stem += c;
  }
  if (stem.empty() || !proto::plain_name(stem)) stem = "vm";
  for (;;) {
    u32 number = 0;
    (void)!::getrandom(&number, sizeof number, 0);
    std::string name = fmt::format("{}-{:04x}", stem, number & 0xffff);
    if (::access(places_of(name).folder.c_str(), F_OK) != 0) return name;
  }
}

}  // namespace nagaya::domain
