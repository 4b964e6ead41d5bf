// The KVM device and what it offers.
#pragma once
#include <string>

#include "base/result.hpp"
#include "base/types.hpp"
#include "host/fd.hpp"

namespace nagaya::engine::kvm {

class System {
 public:
  /// Opens the device and checks the API version and every capability this engine cannot do without; the error names
  /// the first that is missing.
  static Result<System> open(const std::string& device);

  /// KVM_CHECK_EXTENSION; 0 when the host does not know it.
  [[nodiscard]] int extension(int capability) const;
  /// A new virtual machine's descriptor.
  [[nodiscard]] Result<host::Fd> create_vm() const;
  [[nodiscard]] int fd() const { return device_.get(); }
  /// Bytes to map of each vCPU descriptor.
  [[nodiscard]] u64 run_size() const { return run_size_; }
  /// Largest ring in bytes, 0 when dirty rings are not offered; `capability` is the one to enable.
  [[nodiscard]] u64 dirty_ring_bytes(int& capability) const;

 private:
  host::Fd device_;
  u64 run_size_ = 0;
};

}  // namespace nagaya::engine::kvm
