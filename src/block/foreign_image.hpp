// Images of other programs, read for import by libraries that Debian has: VMDK (libvmdk), VHD and VHDX (libvhdi).
#pragma once
#include <string>

#include "block/image.hpp"

namespace nagaya::block {

/// Images with a parent are refused, and VMDK parts that are not plain files beside the image.
Result<std::unique_ptr<Image>> open_vmdk(const std::string& path);
/// VHD or VHDX, as the file itself says.
Result<std::unique_ptr<Image>> open_vhd(const std::string& path);

}  // namespace nagaya::block
