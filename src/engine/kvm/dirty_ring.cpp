#include "engine/kvm/dirty_ring.hpp"

#include <sys/mman.h>

namespace nagaya::engine::kvm {

Result<DirtyRing> DirtyRing::map(int vcpu_fd, u32 entries) {
  TRY_ASSIGN(auto mapping, host::Mapping::shared(vcpu_fd, KVM_DIRTY_LOG_PAGE_OFFSET * page_size,
                                                 u64{entries} * sizeof(kvm_dirty_gfn), PROT_READ | PROT_WRITE));
  return DirtyRing(std::move(mapping), entries);
}

}  // namespace nagaya::engine::kvm
