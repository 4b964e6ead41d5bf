// The named containers of this user: one folder each, <state_dir>/domains/NAME, with container.json and what the container has written.
// Its monitor holds the folder's lock, so that every command sees the truth, whatever was killed before.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "domain/container_definition.hpp"
#include "host/fd.hpp"

namespace nagaya::domain {

/// One container's places. Files may be absent.
struct ContainerFolder {
  std::string folder;   ///< <state>/domains/NAME
  std::string runtime;  ///< <runtime>/ct/NAME
  std::string oci;      ///< <runtime>/oci: the runtime's own records
  [[nodiscard]] std::string definition() const { return folder + "/container.json"; }
  [[nodiscard]] std::string status() const { return folder + "/status.json"; }
  [[nodiscard]] std::string log() const { return folder + "/log"; }
  [[nodiscard]] std::string monitor_log() const { return folder + "/monitor.log"; }
  [[nodiscard]] std::string upper() const { return folder + "/upper"; }
  [[nodiscard]] std::string work() const { return folder + "/work"; }
  [[nodiscard]] std::string copy() const { return folder + "/copy"; }        ///< its root, where there is no overlay
  [[nodiscard]] std::string storage() const { return folder + "/storage"; }  ///< the name of its storage driver
  [[nodiscard]] std::string volumes() const { return folder + "/volumes"; }
  [[nodiscard]] std::string saved() const { return folder + "/saved"; }
  [[nodiscard]] std::string saving() const { return runtime + "/saving"; }
  [[nodiscard]] std::string root() const { return runtime + "/root"; }
  [[nodiscard]] std::string control() const { return runtime + "/control.sock"; }
};

/// What the monitor last wrote. Whether it is still so, the lock tells.
struct ContainerStatus {
  enum class Phase : u8 { created, running, exited, failed, saved };
  Phase phase = Phase::created;
  i64 monitor = 0, pid = 0;  ///< processes, as the host numbers them; 0: none
  std::string started{}, finished{};  ///< UTC, ISO 8601
  int exit_code = 0;
  bool oom_killed = false;
  bool stopped = false;  ///< somebody asked for its end: `--restart unless-stopped` does not start it with the host
  unsigned restarts = 0;
  std::string reason{};   ///< why it failed
  std::string address{};  ///< "10.89.0.2/24"
  std::string health{};   ///< "starting", "healthy", "unhealthy"; empty: it is not asked
  u64 health_failures = 0;      ///< in a row
  std::string health_output{};  ///< what the last check said, cut
  bool operator==(const ContainerStatus&) const = default;
  /// A process descriptor of the monitor, to wait for or to join its namespaces; empty when it has ended.
  [[nodiscard]] host::Fd monitor_process() const;
  [[nodiscard]] std::string to_json() const;
  static Result<ContainerStatus> from_json(std::string_view text);
};
[[nodiscard]] std::string_view phase_name(ContainerStatus::Phase phase);

struct Container {
  ContainerDefinition definition;
  ContainerFolder places;
};

class ContainerStore {
 public:
  /// Folders of this user (host/dirs.hpp), or others for tests.
  ContainerStore();
  ContainerStore(std::string state, std::string runtime) : state_(std::move(state)), runtime_(std::move(runtime)) {}

  /// Makes the folder with container.json (name, id and time of creation are filled in when empty) and what `complete` adds, all or nothing,
  /// whatever is killed; a domain of that name is an error.
  [[nodiscard]] Result<Container> create(ContainerDefinition definition, const std::function<Result<>(const Container&)>& complete = {}) const;
  /// The container of that name, or the one whose name or id begins so when there is only one. ENOENT: none.
  [[nodiscard]] Result<Container> find(const std::string& name) const;
  [[nodiscard]] Result<std::vector<Container>> list(std::vector<std::string>* unreadable = nullptr) const;
  /// Writes a changed definition.
  [[nodiscard]] Result<> save(const Container& container) const;
  /// Another name; it must not run.
  [[nodiscard]] Result<Container> rename(const Container& container, const std::string& name) const;
  /// Clears what a killed monitor left, and removes the folder; a running container is an error.
  [[nodiscard]] Result<> remove(const Container& container) const;
  [[nodiscard]] Result<> remove(const Container& container, host::Fd held) const;
  /// Takes the lock, makes the runtime folder. Error (EBUSY): it runs already.
  [[nodiscard]] Result<host::Fd> lock(const Container& container) const;
  [[nodiscard]] bool running(const Container& container) const;
  /// The truth: what was written, corrected by the lock.
  [[nodiscard]] ContainerStatus status(const Container& container) const;
  [[nodiscard]] Result<> write_status(const Container& container, const ContainerStatus& status) const;
  /// Removes what a container whose monitor was killed has left in the kernel. Call it with the lock held.
  void clear_leftovers(const Container& container) const;
  /// The folder of a named volume, made when it is not there.
  [[nodiscard]] Result<std::string> volume(const std::string& name) const;
  [[nodiscard]] std::string fresh_name(const std::string& image) const;

 private:
  [[nodiscard]] ContainerFolder places_of(const std::string& name) const;
  [[nodiscard]] Result<Container> load(const std::string& name) const;
  std::string state_, runtime_;
};

}  // namespace nagaya::domain
