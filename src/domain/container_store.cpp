#include "domain/container_store.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>

#include "base/log.hpp"
#include "base/scope.hpp"
#include "container/container.hpp"
#include "domain/folder_lock.hpp"
#include "domain/user_space.hpp"
#include "host/dirs.hpp"
#include "host/new_file.hpp"
#include "net/join.hpp"
#include "proto/device_config.hpp"
#include "proto/json_fields.hpp"

namespace nagaya::domain {
namespace {

namespace fs = std::filesystem;
using Phase = ContainerStatus::Phase;

constexpr u64 longest_definition = 1 * MiB;
constexpr std::array<std::string_view, 5> phases = {"created", "running", "exited", "failed", "saved"};

Error unknown_container(const std::string& name) {
  Error out{fmt::format("there is no container '{}'", name), {}, "'nagaya ps -a' lists them"};
  out.code = ENOENT;
  return out;
}

std::string random_id() {
  std::array<u8, 32> bytes{};
  (void)!::getrandom(bytes.data(), bytes.size(), 0);
  std::string out;
  for (const u8 byte : bytes) out += fmt::format("{:02x}", byte);
  return out;
}

std::span<const u8> bytes_of(const std::string& text) { return {reinterpret_cast<const u8*>(text.data()), text.size()}; }

}  // namespace

std::string_view phase_name(Phase phase) { return phases[static_cast<std::size_t>(phase)]; }

host::Fd ContainerStatus::monitor_process() const {
  return host::Fd(monitor <= 0 ? -1 : static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(monitor), 0)));
}

std::string ContainerStatus::to_json() const {
  nlohmann::ordered_json out = {{"phase", phase_name(phase)}, {"monitor", monitor}, {"pid", pid}, {"started", started},
                                {"finished", finished}, {"exit_code", exit_code}, {"oom_killed", oom_killed}, {"stopped", stopped}, {"restarts", restarts},
                                {"reason", reason}, {"address", address}};
  if (!health.empty()) {
    out["health"] = health;
    out["health_failures"] = health_failures;
    out["health_output"] = health_output;
  }
  return proto::print(out, 2) + "\n";
}

Result<ContainerStatus> ContainerStatus::from_json(std::string_view text) {
  TRY_ASSIGN(const auto object, proto::parse_object(text, "status"));
  proto::Fields fields(object, "status");
  ContainerStatus out;
  std::string phase;
  fields.text("phase", phase);
  fields.number("monitor", out.monitor);
  fields.number("pid", out.pid);
  fields.text("started", out.started);
  fields.text("finished", out.finished);
  fields.number("exit_code", out.exit_code);
  fields.flag("oom_killed", out.oom_killed);
  fields.flag("stopped", out.stopped);
  fields.number("restarts", out.restarts);
  fields.text("reason", out.reason);
  fields.text("address", out.address);
  fields.text("health", out.health);
  fields.number("health_failures", out.health_failures);
  fields.text("health_output", out.health_output);
  TRY(fields.finish());
  const auto known = std::ranges::find(phases, phase);
  if (known == phases.end()) return fail("status", fmt::format("unknown phase '{}'", phase));
  out.phase = static_cast<Phase>(known - phases.begin());
  return out;
}

ContainerStore::ContainerStore() : ContainerStore(host::state_dir(), host::runtime_dir()) {}

ContainerFolder ContainerStore::places_of(const std::string& name) const {
  return {.folder = state_ + "/domains/" + name, .runtime = runtime_ + "/ct/" + name, .oci = runtime_ + "/oci"};
}

Result<Container> ContainerStore::create(ContainerDefinition definition, const std::function<Result<>(const Container&)>& complete) const {
  if (definition.created.empty()) definition.created = now_utc();
  if (definition.id.empty()) definition.id = random_id();
  if (definition.name.empty()) definition.name = fresh_name(definition.image_name);
  TRY(definition.validate());
  Container out{std::move(definition), {}};
  out.places = places_of(out.definition.name);
  TRY(make_domain_folder(state_ + "/domains", out.definition.name, [&](const std::string& aside) -> Result<> {
    Container begun = out;
    begun.places.folder = aside;
    TRY(save(begun));
    return complete ? complete(begun) : Result<>();
  }));
  return out;
}

Result<> ContainerStore::save(const Container& container) const {
  return host::replace_file(container.places.definition(), bytes_of(container.definition.to_json()));
}

Result<Container> ContainerStore::load(const std::string& name) const {
  Container out{{}, places_of(name)};
  TRY_ASSIGN(const auto text, host::read_file(out.places.definition(), longest_definition));
  auto definition = ContainerDefinition::from_json({reinterpret_cast<const char*>(text.data()), text.size()});
  if (!definition) return std::unexpected(std::move(definition.error()).within(out.places.definition()));
  out.definition = std::move(*definition);
  // The folder's name is what counts: whoever renamed it may have been killed before the definition was written.
  out.definition.name = name;
  return out;
}

Result<Container> ContainerStore::find(const std::string& name) const {
  if (!proto::plain_name(name)) return std::unexpected(unknown_container(name));
  if (::access(places_of(name).definition().c_str(), F_OK) == 0) return load(name);
  TRY_ASSIGN(const auto all, list());
  std::vector<const Container*> matches;
  for (const Container& container : all) {
    if (container.definition.name.starts_with(name) || (name.size() >= 4 && container.definition.id.starts_with(name))) matches.push_back(&container);
  }
  if (matches.size() == 1) return *matches[0];
  if (matches.empty()) return std::unexpected(unknown_container(name));
  return fail(fmt::format("'{}' is the beginning of more than one name", name));
}

Result<std::vector<Container>> ContainerStore::list(std::vector<std::string>* unreadable) const {
  std::vector<Container> out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(state_ + "/domains", error)) {
    const std::string name = entry.path().filename().string();
    if (!proto::plain_name(name) || ::access(places_of(name).definition().c_str(), F_OK) != 0) continue;
    if (auto container = load(name)) {
      out.push_back(std::move(*container));
    } else if (unreadable != nullptr) {
      unreadable->push_back(container.error().message());
    }
  }
  if (error && error.value() != ENOENT) return fail_errno(fmt::format("cannot read '{}/domains'", state_), error.value());
  std::ranges::sort(out, {}, [](const Container& c) { return c.definition.name; });
  return out;
}

Result<Container> ContainerStore::rename(const Container& container, const std::string& name) const {
  TRY_ASSIGN(const host::Fd held, lock(container));
  Container out = container;
  out.definition.name = name;
  TRY(out.definition.validate());
  out.places = places_of(name);
  // What is known by the old name goes first: nobody would find it afterwards.
  clear_leftovers(container);
  std::error_code ignored;
  fs::remove_all(container.places.runtime, ignored);
  TRY(rename_folder(container.places.folder, out.places.folder));
  TRY(save(out));
  return out;
}

Result<host::Fd> ContainerStore::lock(const Container& container) const {
  auto fd = lock_folder(container.places.folder);
  if (!fd && fd.error().code == EBUSY) {
    Error busy{fmt::format("container '{}' runs already", container.definition.name), {}, fmt::format("'nagaya stop {}' ends it", container.definition.name)};
    busy.code = EBUSY;
    return std::unexpected(std::move(busy));
  }
  if (!fd) return fd;
  TRY(make_folders(container.places.runtime));
  if (::chmod(container.places.runtime.c_str(), 0700) != 0) return fail_errno(fmt::format("cannot close '{}' to others", container.places.runtime));
  return fd;
}

bool ContainerStore::running(const Container& container) const { return folder_locked(container.places.folder); }

ContainerStatus ContainerStore::status(const Container& container) const {
  ContainerStatus out;
  if (const auto text = host::read_file(container.places.status(), 64 * KiB)) {
    if (auto read = ContainerStatus::from_json({reinterpret_cast<const char*>(text->data()), text->size()})) out = std::move(*read);
  }
  if (out.phase == Phase::running && !running(container)) {
    out.phase = Phase::failed;
    out.pid = out.monitor = 0;
    out.exit_code = 137;
    out.reason = "its monitor was killed, or the host restarted";
  }
  return out;
}

Result<> ContainerStore::write_status(const Container& container, const ContainerStatus& status) const {
  return host::replace_file(container.places.status(), bytes_of(status.to_json()));
}

void ContainerStore::clear_leftovers(const Container& container) const {
  if (auto gone = container::remove(container.places.oci, container.definition.name, true); !gone) {
    log::warning("container '{}': {}", container.definition.name, gone.error().message());
  }
  host::remove_stale_files(container.places.folder);
  net::tidy(net::NetworkStore(state_ + "/networks", runtime_ + "/net"));
}

Result<> ContainerStore::remove(const Container& container) const {
  TRY_ASSIGN(host::Fd held, lock(container));
  return remove(container, std::move(held));
}

Result<> ContainerStore::remove(const Container& container, host::Fd /*held*/) const {
  clear_leftovers(container);
  std::error_code error;
  fs::remove_all(container.places.runtime, error);
  if (error) return fail_errno(fmt::format("cannot remove '{}'", container.places.runtime), error.value());
  return remove_domain_folder(state_ + "/domains", container.definition.name);
}

Result<std::string> ContainerStore::volume(const std::string& name) const {
  if (!proto::plain_name(name)) return fail(fmt::format("volume '{}'", name), "it is no name");
  std::string out = state_ + "/volumes/" + name + "/data";
  TRY(make_folders(out));
  return out;
}

std::string ContainerStore::fresh_name(const std::string& image) const { return fresh_name_in(state_ + "/domains", image, "ct"); }

}  // namespace nagaya::domain
