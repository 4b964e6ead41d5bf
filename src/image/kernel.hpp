// A kernel out of a Debian root file system or package, and the RAM disk that starts guests with it: nagaya-init and the
// modules that reach the disk.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "image/layers.hpp"
#include "image/store.hpp"
#include "image/tool.hpp"
#include "image/tree.hpp"
#include "proto/init_config.hpp"

namespace nagaya::image {

/// Files to load for a module, in order, from the text of modules.dep; empty when it has none of that name.
[[nodiscard]] std::vector<std::string> module_files(std::string_view modules_dep, std::string_view name);

/// Path of a static program for guests, which lies beside our own or in ../libexec/nagaya.
[[nodiscard]] Result<std::string> guest_program(const std::string& name);

struct KernelFiles {
  std::string version;
  std::string kernel, initrd;  ///< paths in the folder given
};
/// Takes the newest kernel in /boot, and makes its RAM disk.
[[nodiscard]] Result<KernelFiles> take_kernel(const Layers& layers, const Tree& tree, const std::string& folder);

/// An image of kind kernel, out of Debian's package; `name` empty: "kernel".
[[nodiscard]] Result<Image> build_kernel(Store& store, const std::string& name, const Work& work);
/// There is an image "kernel" after this: that of a disk image at hand, or a new one.
[[nodiscard]] Result<> ensure_kernel(Store& store, const Work& work);

/// What follows the RAM disk of a guest made from an OCI image: the same kernel starts `config.args` then.
[[nodiscard]] std::vector<u8> init_config_cpio(const proto::InitConfig& config);

}  // namespace nagaya::image
