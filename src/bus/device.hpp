// What every device is: reset, pause, resume, save, restore from the first day, all pure virtual.
#pragma once
#include <string_view>

#include "base/result.hpp"
#include "state/archive.hpp"

namespace nagaya::bus {

class Device {
 public:
  virtual ~Device() = default;
  /// Unique within its machine, stable across versions: the name of its section in a saved state ("serial0").
  [[nodiscard]] virtual std::string_view name() const = 0;
  /// Version of the section `save` writes; `restore` reads all versions from 1 to this.
  [[nodiscard]] virtual u32 state_version() const = 0;
  /// To the state after power-on.
  virtual void reset() = 0;
  /// Stops timers and host I/O; afterwards the state does not change until `resume`. vCPUs are already stopped.
  virtual void pause() = 0;
  virtual void resume() = 0;
  /// Only while paused.
  virtual void save(state::Writer& out) const = 0;
  /// Only while paused. Must leave the device usable (reset) when the state is refused.
  [[nodiscard]] virtual Result<> restore(state::Reader& in) = 0;
};

}  // namespace nagaya::bus
