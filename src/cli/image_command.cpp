#include "cli/image_command.hpp"

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>

#include "cli/launch.hpp"
#include "cli/sizes.hpp"
#include "cli/table.hpp"
#include "image/debian.hpp"
#include "image/kernel.hpp"
#include "image/oci.hpp"
#include "image/store.hpp"
#include "image/tool.hpp"

namespace nagaya::cli {

namespace {

constexpr int interrupted = 130;

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

/// For people: three digits or so.
std::string size_text(u64 bytes) {
  if (bytes < MiB) return fmt::format("{} KiB", (bytes + KiB - 1) / KiB);
  if (bytes < GiB) return fmt::format("{} MiB", (bytes + MiB / 2) / MiB);
  return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / static_cast<double>(GiB));
}

/// Runs work that makes an image: progress on standard error, the id on standard output.
template <class Make>
Result<int> make_image(const Parsed& options, Make make) {
  TRY_ASSIGN(const image::Interrupt interrupt, image::Interrupt::create());
  image::Work work{.interrupt = &interrupt, .verbose = options.has("verbose")};
  if (!options.has("quiet")) work.say = [](const std::string& step) { std::fprintf(stderr, "nagaya: %s\n", step.c_str()); };
  TRY_ASSIGN(image::Store store, image::Store::open());
  const std::time_t start = std::time(nullptr);
  Result<image::Image> made = make(store, work);
  if (!made && made.error().code == EINTR) {
    complain(made.error());
    return interrupted;
  }
  if (!made) return std::unexpected(std::move(made.error()));
  if (!options.has("quiet")) {
    std::fprintf(stderr, "nagaya: image %s, %s, in %lld s\n", fmt::format("{}", fmt::join(made->names, ", ")).c_str(), size_text(made->size).c_str(),
                 static_cast<long long>(std::time(nullptr) - start));
  }
  print(made->id + "\n");
  return 0;
}

Result<int> build_debian(const Parsed& options) {
  image::DebianOptions debian{.name = options.last("name"), .mirror = options.last("mirror")};
  if (options.has("suite")) debian.suite = options.last("suite");
  if (options.has("size")) {
    TRY_ASSIGN(debian.size, parse_size(options.last("size")));
  }
  for (const std::string& list : options.all("include")) {
    for (std::size_t at = 0; at <= list.size();) {
      const std::size_t end = std::min(list.find(',', at), list.size());
      if (end != at) debian.include.push_back(list.substr(at, end - at));
      at = end + 1;
    }
  }
  TRY(image::validate(debian));
  return make_image(options, [&](image::Store& store, const image::Work& work) { return image::build_debian(store, debian, work); });
}

Result<int> build_kernel(const Parsed& options) {
  for (const char* other : {"suite", "include", "size", "mirror"}) {
    if (options.has(other)) return fail(fmt::format("--{}", other), "a kernel has no such thing");
  }
  return make_image(options, [&](image::Store& store, const image::Work& work) { return image::build_kernel(store, options.last("name"), work); });
}

Result<int> pull(const Parsed& options) {
  if (!options.has("IMAGE")) return fail("nagaya pull", "no image is named", "nagaya pull docker.io/library/alpine, for example");
  image::PullOptions pulled{.source = options.last("IMAGE"), .name = options.last("name")};
  if (options.has("size")) {
    TRY_ASSIGN(pulled.size, parse_size(options.last("size")));
  }
  TRY(image::parse_oci_source(pulled.source));
  return make_image(options, [&](image::Store& store, const image::Work& work) { return image::pull(store, pulled, work); });
}

// Also by itself, so that the first machine of an image needs not wait for it.
Result<int> build_disk(const Parsed& options) {
  if (!options.has("name")) return fail("nagaya build disk", "no image is named", "write nagaya build disk --name IMAGE");
  u64 size = image::default_disk_size;
  if (options.has("size")) {
    TRY_ASSIGN(size, parse_size(options.last("size")));
  }
  return make_image(options, [&](image::Store& store, const image::Work& work) -> Result<image::Image> {
    TRY_ASSIGN(const image::Image image, store.find(options.last("name")));
    return image::with_disk(store, image, size, work);
  });
}

Result<int> build(const Parsed& options) {
  const std::string what = options.last("WHAT");
  if (what == "debian") return build_debian(options);
  if (what == "kernel") return build_kernel(options);
  if (what == "disk") return build_disk(options);
  if (what.empty()) return fail("nagaya build", "it is not said what to build", "nagaya build debian");
  return fail(fmt::format("nagaya build {}", what), "Debian systems, kernels and disks of images are built", "nagaya build debian; images of containers come by nagaya pull");
}

Result<int> images(const Parsed& options) {
  TRY_ASSIGN(const image::Store store, image::Store::open());
  TRY_ASSIGN(const auto all, store.list());
  int code = 0;
  Table table{{"name", "id", "kind", "created", "size", "disk", "source"}, {}};
  for (const image::Image& image : all) {
    if (options.has("verify")) {
      if (auto good = store.verify(image); !good) {
        complain(good.error());
        code = 1;
      }
    }
    if (options.has("quiet")) {
      print(image.id + "\n");
      continue;
    }
    const std::string id = options.has("no-trunc") ? image.id : image.id.substr(0, 12);
    const std::string disk = image.disk_size == 0 ? "" : size_text(image.disk_size);
    std::vector<std::string> names = image.names;
    if (names.empty()) names.emplace_back("");
    for (const std::string& name : names) {
      table.rows.push_back({name, id, std::string(image::kind_name(image.kind)), format_time(image.created), size_text(image.size), disk, image.source});
    }
  }
  if (!options.has("quiet")) print(render(table, options.last("output")));
  return code;
}

Result<int> rmi(const Parsed& options) {
  if (!options.has("IMAGE")) return fail("nagaya rmi", "no image is named", "'nagaya images' lists them");
  TRY_ASSIGN(image::Store store, image::Store::open());
  int code = 0;
  for (const std::string& name : options.all("IMAGE")) {
    auto gone = store.remove(name);
    if (gone) {
      print(*gone ? **gone + "\n" : name + "\n");
    } else {
      complain(gone.error());
      code = 125;
    }
  }
  return code;
}

CommandSpec build_command() {
  return {.name = "build",
          .summary = "make an image: a Debian system on a disk, a kernel, or the disk of another image",
          .examples = {{"nagaya build debian", "Debian 12, as image debian"},
                       {"nagaya build debian --include git,build-essential --size 20G --name dev", "with more packages and room"},
                       {"nagaya build debian --mirror http://mirror.example/debian", "from a mirror near you"},
                       {"nagaya build kernel", "Debian's newest kernel, for images that nagaya pull brought"},
                       {"nagaya build disk --name alpine", "an image's disk for virtual machines, before the first one wants it"}},
          .options = {{"WHAT", "WHAT", "what to build", Completes::words, {"debian", "kernel", "disk"}, false},
                      {"--suite", "SUITE", "Debian release (default: bookworm)"},
                      {"--include", "PACKAGES", "more packages, with commas between them", Completes::nothing, {}, true, true},
                      {"--size", "SIZE", "size of the disk; what is not used takes no space (default: 4G)"},
                      {"--name", "NAME[:TAG]", "name of the image (default: debian, kernel); of a disk: the image it is for"},
                      {"--mirror", "URL", "where packages come from, for the guest too (default: the mirrors of this host)"},
                      {"-q,--quiet", "", "no progress"},
                      {"--verbose", "", "show what the tools print"}},
          .sections = {{"Notes", "The new image's id is printed on standard output. No root is needed where the user has subordinate ids (package uidmap).", {}}},
          .run = build};
}

CommandSpec pull_command() {
  return {.name = "pull",
          .summary = "make an image of an OCI image",
          .examples = {{"nagaya pull alpine", "from Docker's registry"},
                       {"nagaya pull registry.example/team/app:1.2", "from another"},
                       {"nagaya pull docker-archive:app.tar --name app", "from what 'docker save' wrote"},
                       {"nagaya pull oci:layout:1.2", "from an OCI layout in a folder"}},
          .options = {{"IMAGE", "IMAGE", "NAME[:TAG], docker://REF, docker-archive:FILE, oci-archive:FILE or oci:DIR[:NAME]"},
                      {"--name", "NAME[:TAG]", "name of the image (default: that of the source)"},
                      {"--size", "SIZE", "also make the disk for virtual machines now, of that size (default: 4G, when the first machine is made)"},
                      {"-q,--quiet", "", "no progress"},
                      {"--verbose", "", "show what the tools print"}},
          .sections = {{"Notes", "The new image's id is printed on standard output. Registries and archives need skopeo.", {}}},
          .run = pull};
}

CommandSpec images_command() {
  return {.name = "images",
          .summary = "list images",
          .examples = {{"nagaya images", "what can be run"}, {"nagaya images --verify", "and whether its files are as they were made"}},
          .options = {{"-q,--quiet", "", "ids only"},
                      {"--no-trunc", "", "whole ids"},
                      {"--verify", "", "read all files and compare their hashes; exit code 1 when one was changed"},
                      {"-f,--output", "FORMAT", "table, json, yaml or csv (default: table)", Completes::words, table_formats()}},
          .run = images};
}

CommandSpec rmi_command() {
  return {.name = "rmi",
          .summary = "remove images",
          .examples = {{"nagaya rmi debian", "the name, and with the last one the image"}, {"nagaya rmi 3f2a", "by the beginning of its id"}},
          .options = {{"IMAGE", "IMAGE", "names or ids", Completes::nothing, {}, true, true}},
          .run = rmi};
}

}  // namespace

std::vector<CommandSpec> image_commands() { return {build_command(), pull_command(), images_command(), rmi_command()}; }

}  // namespace nagaya::cli
