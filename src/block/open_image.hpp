// Opening images without the asynchronous part around them: for tools, and for checks that need the format's own type.
#pragma once
#include <memory>

#include "block/image.hpp"
#include "block/open.hpp"
#include "block/qcow2_image.hpp"

namespace nagaya::block {

Result<std::unique_ptr<Image>> open_image(const OpenOptions& options);
Result<std::unique_ptr<qcow2::Qcow2Image>> open_qcow2(const OpenOptions& options, bool for_check = false);
/// The image that `image` names as `path`, read-only: below the folder of `image`, or allowed by name or folder.
Result<std::unique_ptr<Image>> open_backing(const std::string& image, const std::string& path, Format format,
                                            const std::vector<std::string>& allowed);

}  // namespace nagaya::block
