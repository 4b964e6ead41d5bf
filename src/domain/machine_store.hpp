// The named machines of this user: one folder each, <state_dir>/domains/NAME, with machine.json, its disk and its seed. What
// runs holds the folder's lock, so that every command sees the truth, whatever was killed before.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "domain/machine_spec.hpp"
#include "host/fd.hpp"

namespace nagaya::domain {

/// One machine's places. Files may be absent.
struct MachinePlaces {
  std::string folder;   ///< <state>/domains/NAME
  std::string runtime;  ///< <runtime>/vm/NAME
  [[nodiscard]] std::string definition() const { return folder + "/machine.json"; }
  [[nodiscard]] std::string disk() const { return folder + "/disk.qcow2"; }
  [[nodiscard]] std::string seed() const { return folder + "/seed.iso"; }
  [[nodiscard]] std::string console_log() const { return folder + "/console.log"; }
  [[nodiscard]] std::string console_input() const { return runtime + "/console.in"; }  ///< named pipe; of machines in the background
  [[nodiscard]] std::string monitor_log() const { return folder + "/monitor.log"; }
  [[nodiscard]] std::string initrd() const { return folder + "/initrd"; }
  [[nodiscard]] std::string control() const { return runtime + "/control.sock"; }
  [[nodiscard]] std::string vsock() const { return runtime + "/vsock.sock"; }
  [[nodiscard]] std::string status() const { return runtime + "/status"; }  ///< what nagaya-init told of its program
  [[nodiscard]] std::string group() const { return folder + "/cgroup"; }  ///< where the cgroup of its process is, while there is one
  [[nodiscard]] std::string group_limit() const { return runtime + "/memory_limit"; }  ///< of that cgroup when it was made, in bytes
  [[nodiscard]] std::string ended() const { return folder + "/exit_code"; }  ///< how it ended last; none: it runs, never ran, or was killed
  [[nodiscard]] std::string policy() const { return folder + "/policy.json"; }  ///< machine_policy.hpp
  [[nodiscard]] std::string stopped() const { return folder + "/stopped"; }      ///< there: somebody ended it
  [[nodiscard]] std::string restarts() const { return runtime + "/restarts"; }   ///< how often it was started again
  [[nodiscard]] std::string pid() const { return runtime + "/pid"; }
};

struct Machine {
  MachineSpec spec;
  MachinePlaces places;
};

class MachineStore {
 public:
  /// Folders of this user (host/dirs.hpp), or others for tests.
  MachineStore();
  MachineStore(std::string state, std::string runtime) : state_(std::move(state)), runtime_(std::move(runtime)) {}

  /// Makes the folder with machine.json and what `complete` adds, all or nothing, whatever is killed; an existing domain of that name is
  /// an error.
  [[nodiscard]] Result<Machine> create(MachineSpec spec, const std::function<Result<>(const Machine&)>& complete = {}) const;
  /// The machine of that name, or the one whose name begins so when there is only one.
  [[nodiscard]] Result<Machine> find(const std::string& name) const;
  /// By name. A folder that cannot be read is left out and told in `unreadable`.
  [[nodiscard]] Result<std::vector<Machine>> list(std::vector<std::string>* unreadable = nullptr) const;
  /// Writes the definition anew; for whoever has its lock.
  [[nodiscard]] Result<> save(const Machine& machine) const;
  /// A running machine, or a name that is taken, is an error.
  [[nodiscard]] Result<Machine> rename(const Machine& machine, const std::string& name) const;
  /// Removes the folder; a running machine is an error.
  [[nodiscard]] Result<> remove(const Machine& machine) const;
  /// The same for whoever has its lock already.
  [[nodiscard]] Result<> remove(const Machine& machine, host::Fd held) const;
  /// Takes the machine's lock and makes its runtime folder: it belongs to whoever holds the descriptor (or an inherited
  /// copy of it). Error: it runs already.
  [[nodiscard]] Result<host::Fd> lock(const Machine& machine) const;
  [[nodiscard]] bool running(const Machine& machine) const;
  /// Removes what a machine whose monitor was killed has left: its cgroup, sockets, temporary files. Nothing while it runs.
  void clear_leftovers(const Machine& machine) const;
  /// A name that no machine has, of the form image-NNNN.
  [[nodiscard]] std::string fresh_name(const std::string& image) const;

 private:
  [[nodiscard]] MachinePlaces places_of(const std::string& name) const;
  [[nodiscard]] Result<Machine> load(const std::string& name) const;
  /// For whoever holds its lock.
  void clear(const Machine& machine) const;
  std::string state_, runtime_;
};

}  // namespace nagaya::domain
