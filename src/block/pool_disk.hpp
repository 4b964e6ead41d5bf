// Makes an image asynchronous: worker threads run its requests.
#pragma once
#include <memory>

#include "block/disk.hpp"
#include "block/image.hpp"

namespace nagaya::block {

/// `threads` 0: by the number of host CPUs, at least 2.
std::unique_ptr<Disk> pool_disk(std::unique_ptr<Image> image, unsigned threads = 0);

/// What is wrong with a request to a disk of this size and these capabilities: 0 or an errno value.
[[nodiscard]] int request_error(const Request& request, u64 size, const Capabilities& capabilities);
/// Larger reads are better spread over threads.
inline constexpr u64 most_at_once = 128 * KiB;
/// Whether a request is a read that could be, and was, answered from memory on the calling thread.
[[nodiscard]] bool served_at_once(Image& image, const Request& request);
/// Runs one request to its end on the calling thread; gives its errno value. Does not call `done`.
[[nodiscard]] int execute(Image& image, const Request& request);

}  // namespace nagaya::block
