#include "cli/image_for_run.hpp"

#include <cerrno>
#include <cstdio>

#include "image/debian.hpp"
#include "image/store.hpp"

namespace nagaya::cli {

Result<image::Image> image_for_run(const std::string& name, bool quiet) {
  TRY_ASSIGN(auto store, image::Store::open());
  auto found = store.find(name);
  if (found || found.error().code != ENOENT) return found;
  if (name != "debian" && name != "debian:latest") {
    found.error().hint = "'nagaya images' lists those there are, 'nagaya build debian --name NAME' makes one";
    return found;
  }
  TRY_ASSIGN(const image::Interrupt interrupt, image::Interrupt::create());
  image::Work work{.interrupt = &interrupt};
  if (!quiet) {
    std::fprintf(stderr, "nagaya: there is no image 'debian' yet; making it takes a few minutes, once\n");
    work.say = [](const std::string& step) { std::fprintf(stderr, "nagaya: %s\n", step.c_str()); };
  }
  return image::build_debian(store, {}, work);
}

}  // namespace nagaya::cli
