// From an image to a machine: its own disk over the image's, and what the guest is told at its first start.
#pragma once
#include <functional>

#include "base/result.hpp"
#include "domain/machine_store.hpp"
#include "image/image.hpp"
#include "proto/init_config.hpp"
#include "proto/vm_config.hpp"

namespace nagaya::domain {

/// Makes the machine's folder, its copy-on-write disk, for a disk image its cloud-init seed, and what `complete` adds. Leaves nothing behind
/// on an error.
[[nodiscard]] Result<Machine> make_machine(const MachineStore& store, const image::Image& image, MachineSpec spec,
                                           const std::function<Result<>(const Machine&)>& complete = {});

/// What nagaya-init does in a machine of an OCI image: the image's configuration with what the user chose instead.
[[nodiscard]] Result<proto::InitConfig> init_config(const MachineSpec& spec, const image::Image& image, bool terminal);

/// What nagaya-vmm shall run, network cards apart: those come from whoever joins the networks.
[[nodiscard]] Result<proto::VmConfig> vm_config(const Machine& machine, const image::Image& image);

}  // namespace nagaya::domain
