#include "container/bundle.hpp"

#include <limits.h>
#include <stdlib.h>
#include <time.h>

#include "container/id_map.hpp"
#include "container/spec/parse.hpp"
#include "host/fd.hpp"

namespace nagaya::container {
namespace {

std::string now_text() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  ::gmtime_r(&now.tv_sec, &parts);
  char text[64];
  const std::size_t length = ::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::string fraction = std::to_string(1'000'000'000 + now.tv_nsec);
  return std::string(text, length) + "." + fraction.substr(1) + "Z";
}

}  // namespace

Result<std::string> bundle_path(const std::string& path) {
  char buffer[PATH_MAX];
  if (::realpath(path.empty() ? "." : path.c_str(), buffer) == nullptr)
    return fail_errno("cannot find bundle '" + path + "'");
  return std::string(buffer);
}

Result<Configuration> read_configuration(const CreateOptions& options, const std::string& bundle) {
  Configuration out;
  if (options.spec) {
    out.spec = *options.spec;
    out.text = write_spec(out.spec);
  } else {
    TRY_ASSIGN(const std::vector<u8> bytes, host::read_file(bundle + "/config.json", bundle_limit));
    out.text.assign(bytes.begin(), bytes.end());
    auto spec = parse_spec(out.text);
    if (!spec) return std::unexpected(std::move(spec.error()).within("'" + bundle + "/config.json'"));
    out.spec = std::move(*spec);
  }
  if (out.spec.root_path.empty()) return fail("the configuration has no root.path");
  return out;
}

Record new_record(const CreateOptions& options, const std::string& bundle, const Spec& spec) {
  Record record;
  record.id = options.id;
  record.bundle = bundle;
  record.rootfs = spec.root_path[0] == '/' ? spec.root_path : bundle + "/" + spec.root_path;
  record.created = now_text();
  record.annotations = spec.annotations;
  record.terminal = spec.process && spec.process->terminal;
  for (const Namespace& item : spec.linux.namespaces) record.namespaces.push_back(item.kind);
  // Without a path: of its own name; for systemd a scope in its default slice.
  const std::string own = (options.manager == cgroup::Manager::systemd ? ":nagaya:" : "/") + options.id;
  record.cgroup = {spec.linux.cgroups_path.empty() ? own : spec.linux.cgroups_path, options.manager,
                   options.rootless.value_or(rootless()), is_whole_system(spec)};
  return record;
}

}  // namespace nagaya::container
