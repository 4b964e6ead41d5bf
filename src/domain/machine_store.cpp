#include "domain/machine_store.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "domain/folder_lock.hpp"
#include "domain/machine_group.hpp"
#include "host/dirs.hpp"
#include "host/new_file.hpp"
#include "net/join.hpp"

namespace nagaya::domain {
namespace {

namespace fs = std::filesystem;

constexpr u64 longest_definition = 1 * MiB;

Error unknown_machine(const std::string& name) {
  return {fmt::format("there is no machine '{}'", name), {}, "'nagaya ps -a' lists them"};
}

}  // namespace

MachineStore::MachineStore() : MachineStore(host::state_dir(), host::runtime_dir()) {}

MachinePlaces MachineStore::places_of(const std::string& name) const {
  return {.folder = state_ + "/domains/" + name, .runtime = runtime_ + "/vm/" + name};
}

Result<Machine> MachineStore::create(MachineSpec spec, const std::function<Result<>(const Machine&)>& complete) const {
  if (spec.created.empty()) spec.created = now_utc();
  TRY(spec.validate());
  Machine out{std::move(spec), {}};
  out.places = places_of(out.spec.name);
  TRY(make_domain_folder(state_ + "/domains", out.spec.name, [&](const std::string& aside) -> Result<> {
    Machine begun = out;
    begun.places.folder = aside;
    TRY(save(begun));
    return complete ? complete(begun) : Result<>();
  }));
  return out;
}

Result<Machine> MachineStore::load(const std::string& name) const {
  Machine out{{}, places_of(name)};
  TRY_ASSIGN(const auto text, host::read_file(out.places.definition(), longest_definition));
  auto spec = MachineSpec::from_json({reinterpret_cast<const char*>(text.data()), text.size()});
  if (!spec) return std::unexpected(std::move(spec.error()).within(out.places.definition()));
  out.spec = std::move(*spec);
  // The folder's name is what counts: whoever renamed it may have been killed before the definition was written.
  out.spec.name = name;
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
    if (!proto::plain_name(name) || fs::exists(places_of(name).folder + "/container.json", ignored) || fs::is_empty(entry.path(), ignored)) continue;
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
  auto fd = lock_folder(machine.places.folder);
  if (!fd && fd.error().code == EBUSY) {
    return std::unexpected(Error{fmt::format("machine '{}' runs already", machine.spec.name), {}, fmt::format("'nagaya stop {}' ends it", machine.spec.name), EBUSY});
  }
  if (!fd) return fd;
  TRY(make_folders(machine.places.runtime));
  if (::chmod(machine.places.runtime.c_str(), 0700) != 0) return fail_errno(fmt::format("cannot close '{}' to others", machine.places.runtime));
  return fd;
}

bool MachineStore::running(const Machine& machine) const { return folder_locked(machine.places.folder); }

Result<> MachineStore::save(const Machine& machine) const {
  const std::string text = machine.spec.to_json();
  return host::replace_file(machine.places.definition(), {reinterpret_cast<const u8*>(text.data()), text.size()});
}

Result<Machine> MachineStore::rename(const Machine& machine, const std::string& name) const {
  if (!proto::plain_name(name)) return std::unexpected(Error{fmt::format("'{}'", name), "it is no name for a machine", {}, EINVAL});
  TRY_ASSIGN(const host::Fd held, lock(machine));
  Machine out = machine;
  out.spec.name = name;
  if (auto ok = out.spec.validate(); !ok) return std::unexpected(std::move(ok.error()));
  out.places = places_of(name);
  // What is known by the old name goes first: nobody would find it afterwards.
  clear(machine);
  TRY(rename_folder(machine.places.folder, out.places.folder));
  TRY(save(out));
  return out;
}

Result<> MachineStore::remove(const Machine& machine) const {
  TRY_ASSIGN(host::Fd held, lock(machine));
  return remove(machine, std::move(held));
}

Result<> MachineStore::remove(const Machine& machine, host::Fd /*held*/) const {
  clear(machine);
  return remove_domain_folder(state_ + "/domains", machine.spec.name);
}

void MachineStore::clear_leftovers(const Machine& machine) const {
  if (auto held = lock(machine)) clear(machine);
}

void MachineStore::clear(const Machine& machine) const {
  std::error_code ignored;
  remove_left_group(machine);
  host::remove_stale_files(machine.places.folder);
  net::tidy(net::NetworkStore(state_ + "/networks", runtime_ + "/net"));
  fs::remove_all(machine.places.runtime, ignored);
}

std::string MachineStore::fresh_name(const std::string& image) const { return fresh_name_in(state_ + "/domains", image, "vm"); }

}  // namespace nagaya::domain
