// What a container is doing, asked of the kernel.
#pragma once
#include "base/result.hpp"
#include "container/container.hpp"
#include "container/folder.hpp"
#include "container/record.hpp"

namespace nagaya::container {

/// `locked`: the caller holds the folder's lock, so that no creation can be under way.
Status status_of(const Folder& folder, const Record& record, bool locked);
/// The same without asking at the gate, which wakes who waits there: `running` may be `created`.
Status rough_status_of(const Folder& folder, const Record& record, bool locked);
/// What the record alone says; the status is left open.
State describe(const Record& record);
State state_of(const Folder& folder, const Record& record, bool locked);

}  // namespace nagaya::container
