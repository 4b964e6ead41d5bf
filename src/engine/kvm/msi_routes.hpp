// Messages that the kernel sends by itself when an eventfd is signalled: entries of KVM's table of interrupt routes, and
// irqfds that point at them. Source: Linux, Documentation/virt/kvm/api.rst, 4.52 and 4.75.
#pragma once
#include <linux/kvm.h>

#include <map>
#include <mutex>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::engine::kvm {

class MsiRoutes {
 public:
  /// `most`: entries that the host's table holds.
  MsiRoutes(int vm_fd, unsigned most) : vm_(vm_fd), most_(most) {}
  Result<> set(int eventfd, u64 address, u32 data);
  void remove(int eventfd);

 private:
  struct Route {
    u32 gsi = 0;
    u64 address = 0;
    u32 data = 0;
  };
  Result<> write_table();
  Result<> irqfd(int eventfd, u32 gsi, u32 flags);

  const int vm_;
  const unsigned most_;
  std::mutex mutex_;
  std::map<int, Route> routes_;  // by eventfd; guarded by mutex_
};

}  // namespace nagaya::engine::kvm
