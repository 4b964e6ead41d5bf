// A raw image on io_uring: requests go to the kernel without a thread of ours between.
#pragma once
#include <memory>

#include "block/disk.hpp"
#include "block/image.hpp"

namespace nagaya::block {

/// Takes `image` (a RawImage) over if the kernel gives us a ring; else leaves it and says why not.
Result<std::unique_ptr<Disk>> uring_disk(std::unique_ptr<Image>& image);

}  // namespace nagaya::block
