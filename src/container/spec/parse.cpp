#include "container/spec/parse.hpp"

#include <set>

#include "container/spec/names.hpp"
#include "container/spec/reader.hpp"

namespace nagaya::container {
namespace {

template <class T>
Result<T> read_document(std::string_view text) {
  TRY_ASSIGN(const auto json, read_json(text, bundle_limit));
  T out;
  std::optional<Error> problem;
  Reader reader(json, "", problem);
  if (!json.is_object()) return fail("the document is not an object");
  describe(reader, out);
  if (problem) return std::unexpected(std::move(*problem));
  return out;
}

Result<> check_process(const Process& process) {
  if (process.args.empty()) return fail("process.args is empty", "nothing to run");
  if (process.cwd.empty() || process.cwd[0] != '/') return fail("process.cwd is not an absolute path");
  for (const auto& variable : process.env)
    if (variable.find('=') == std::string::npos || variable[0] == '=')
      return fail("process.env has '" + variable + "'", "it is not of the form NAME=value");
  return {};
}

Result<> check_hooks(const std::vector<Hook>& hooks) {
  for (const auto& hook : hooks) {
    if (hook.path.empty() || hook.path[0] != '/') return fail("a hook's path is not absolute: '" + hook.path + "'");
    if (hook.timeout && *hook.timeout <= 0) return fail("a hook's timeout is not above zero");
  }
  return {};
}

Result<> check_spec(Spec& spec) {
  if (!spec.oci_version.starts_with("1."))
    return fail("ociVersion is '" + spec.oci_version + "'", "this runtime knows 1.x");
  if (spec.root_path.empty()) return fail("root.path is missing");
  if (spec.process) TRY(check_process(*spec.process));
  for (const auto* hooks : {&spec.hooks.prestart, &spec.hooks.create_runtime, &spec.hooks.create_container,
                            &spec.hooks.start_container, &spec.hooks.poststart, &spec.hooks.poststop})
    TRY(check_hooks(*hooks));
  for (auto& mount : spec.mounts) {
    if (mount.destination.empty()) return fail("a mount has no destination");
    // Old bundles have relative ones; the specification reads them from the root.
    if (mount.destination[0] != '/') mount.destination.insert(0, "/");
  }
  std::set<NamespaceKind> seen;
  for (const auto& space : spec.linux.namespaces) {
    if (!seen.insert(space.kind).second)
      return fail("linux.namespaces has two of '" + std::string(namespace_name(space.kind)) + "'");
    if (!space.path.empty() && space.path[0] != '/')
      return fail("a namespace's path is not absolute: '" + space.path + "'");
  }
  if (!seen.contains(NamespaceKind::user) && !(spec.linux.uid_mappings.empty() && spec.linux.gid_mappings.empty()))
    return fail("linux.uidMappings or gidMappings without a user namespace");
  for (const auto& device : spec.linux.devices) {
    if (device.path.empty() || device.path[0] != '/') return fail("a device's path is not absolute: '" + device.path + "'");
    if (std::string_view("cbup").find(device.type) == std::string_view::npos)
      return fail("a device is of no known type: '" + std::string(1, device.type) + "'");
  }
  return {};
}

}  // namespace

Result<Spec> parse_spec(std::string_view json) {
  TRY_ASSIGN(auto spec, read_document<Spec>(json));
  TRY(check_spec(spec));
  return spec;
}

Result<Process> parse_process(std::string_view json) {
  TRY_ASSIGN(auto process, read_document<Process>(json));
  TRY(check_process(process));
  return process;
}

Result<Resources> parse_resources(std::string_view json) { return read_document<Resources>(json); }

}  // namespace nagaya::container
