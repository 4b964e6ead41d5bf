#include "cli/image_for_run.hpp"

#include <cerrno>
#include <cstdio>

#include "image/debian.hpp"
#include "image/oci.hpp"
#include "image/store.hpp"

namespace nagaya::cli {

Result<image::Image> image_for_run(const std::string& name, bool quiet, ImageUse use) {
  TRY_ASSIGN(auto store, image::Store::open());
  auto found = store.find(name);
  if (!found && found.error().code != ENOENT) return found;
  if (found && (use == ImageUse::container || (!found->disk_path.empty() && !found->kernel_path.empty()))) return found;
  if (found && found->layers.empty()) return found;
  const bool debian = name == "debian" || name == "debian:latest";
  TRY_ASSIGN(const image::Interrupt interrupt, image::Interrupt::create());
  image::Work work{.interrupt = &interrupt};
  if (!quiet) work.say = [](const std::string& step) { std::fprintf(stderr, "nagaya: %s\n", step.c_str()); };
  if (found) return image::with_disk(store, *found, image::default_disk_size, work);
  if (!quiet) {
    std::fprintf(stderr, "nagaya: there is no image '%s' here yet; %s\n", name.c_str(), debian ? "making it takes a few minutes, once" : "looking for it in its registry");
  }
  if (debian) return image::build_debian(store, {}, work);
  TRY_ASSIGN(image::Image pulled, image::pull(store, {.source = name}, work));
  if (use == ImageUse::container) return pulled;
  return image::with_disk(store, pulled, image::default_disk_size, work);
}

}  // namespace nagaya::cli
