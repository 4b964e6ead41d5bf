#include "cli/definition_files.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "definition/document.hpp"
#include "definition/libvirt/read.hpp"
#include "host/fd.hpp"

namespace nagaya::cli {
namespace {

using definition::Json;
namespace fs = std::filesystem;

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

Result<std::vector<std::string>> files_of(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return std::vector<std::string>{path};
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    const std::string ending = entry.path().extension();
    if (ending == ".yaml" || ending == ".yml" || ending == ".json" || ending == ".xml") out.push_back(entry.path());
  }
  if (error) return fail(fmt::format("cannot read '{}'", path), error.message());
  if (out.empty()) return fail(fmt::format("'{}'", path), "no definitions are in it", "their names end in .yaml, .yml, .json or .xml");
  std::ranges::sort(out);
  return out;
}

Result<std::string> text_of(const std::string& path) {
  std::vector<u8> bytes;
  if (path == "-") {
    TRY_ASSIGN(bytes, host::read_all(STDIN_FILENO, definition::longest_text + 1, "standard input"));
  } else {
    TRY_ASSIGN(bytes, host::read_file(path, definition::longest_text + 1));
  }
  return std::string(bytes.begin(), bytes.end());
}

std::string shown(const Json& value) {
  std::string out = value.is_null() ? "(not said)" : value.dump(-1, ' ', false, Json::error_handler_t::replace);
  constexpr std::size_t longest = 200;
  if (out.size() > longest) out = out.substr(0, longest) + "…";
  return out;
}

/// What one file defines. `removing`: names alone are needed.
Result<std::vector<Json>> documents_in(const std::string& file, const Parsed& options, bool removing) {
  TRY_ASSIGN(const std::string text, text_of(file));
  const std::string where = file == "-" ? "standard input" : file;
  if (!file.ends_with(".xml") && !definition::libvirt::is_xml(text)) return definition::read_documents(text, where);
  if (removing) {
    auto name = definition::libvirt::read_domain_name(text);
    if (!name) return std::unexpected(std::move(name.error()).within(where));
    return std::vector<Json>{std::move(*name)};
  }
  auto imported = definition::libvirt::read_domain(text, options.last("image"));
  if (!imported) return std::unexpected(std::move(imported.error()).within(where));
  for (const std::string& line : imported->left_out) std::fprintf(stderr, "%s: left out: %s\n", where.c_str(), line.c_str());
  if (options.has("strict") && !imported->left_out.empty()) return fail(where, "something would be left out", "take it out of the file, or do without --strict");
  return std::vector<Json>{std::move(imported->document)};
}

Result<std::vector<Json>> all_documents(const Parsed& options, bool removing) {
  if (!options.has("file")) return fail("no file is named", {}, "give -f FILE, or -f - for standard input");
  std::vector<Json> out;
  for (const std::string& path : options.all("file")) {
    TRY_ASSIGN(const auto files, files_of(path));
    for (const std::string& file : files) {
      TRY_ASSIGN(auto documents, documents_in(file, options, removing));
      std::ranges::move(documents, std::back_inserter(out));
    }
  }
  TRY(definition::arrange(out));
  if (out.empty()) return fail("nothing is defined", "there is no document in what was given");
  return out;
}

}  // namespace

OptionSpec file_option() { return {"-f,--file", "FILE", "a file of definitions in YAML or JSON, or a libvirt domain in XML; a folder of such, or - for standard input", Completes::file, {}, false, true}; }

Result<std::vector<Json>> documents_of(const Parsed& options) { return all_documents(options, false); }

Result<std::vector<Json>> documents_to_remove(const Parsed& options) { return all_documents(options, true); }

Result<int> print_only(const Parsed& options) {
  TRY_ASSIGN(const auto documents, documents_of(options));
  TRY(print_documents(options, documents));
  return 0;
}

std::vector<OptionSpec> apply_options() {
  return {file_option(),
          {"--dry-run", "", "say what would change, field by field, and change nothing"},
          {"--restart", "", "restart what must be restarted for a change"},
          {"--recreate", "", "make anew what must be made anew for a change; what it has written is lost, its volumes stay"},
          {"--start", "", "start what does not run"},
          {"--print", "", "only print the definitions as YAML; of a libvirt domain, what it becomes"},
          {"--image", "IMAGE", "what libvirt domains start from that name no image", Completes::nothing},
          {"--strict", "", "refuse a libvirt domain of which something would be left out"},
          {"--delete", "", "remove what the definitions name"},
          {"--force", "", "with --delete: also what runs"}};
}

CommandSpec apply_spec() {
  return {.name = "apply",
          .summary = "make machines, containers, networks and volumes as definitions say",
          .examples = {{"nagaya apply -f site.yaml", "make what is missing, change what differs, leave what is equal"},
                       {"nagaya apply -f site.yaml --dry-run", "only say what would change"},
                       {"nagaya export web | sed 's/1G/2G/' | nagaya apply -f - --restart", "change one that runs"},
                       {"virsh dumpxml web | nagaya apply -f - --image debian --print", "what would become of a libvirt domain"},
                       {"nagaya apply -f site.yaml --delete", "and away with it"}},
          .options = apply_options(),
          .sections = {{"Definitions",
                        "Each document begins with its kind: container, vm, network or volume; 'nagaya schema' prints all fields. What a document does not say is as "
                        "usual. Networks come first, then volumes, then domains. A change that can be made while the domain runs is made then; for others nothing "
                        "is changed and the domain is said to wait, unless --restart or --recreate is given.",
                        {}},
                       {"Domains of libvirt",
                        "A file in XML is a libvirt domain (of the type kvm or qemu) and becomes a machine. What it has and a machine has not is told, a line each, and left out; "
                        "what cannot be left out without another guest coming of it is an error. A machine starts from an image, with that image's kernel: the image is named in "
                        "domains that 'nagaya export' wrote, for others by --image, and the domain's disks come behind the machine's own.",
                        {}},
                       {"Exit codes", {}, {{"0", "all is as defined"}, {"3", "something waits for --restart or --recreate"}, {"125", "something failed; what came before it is done"}}}}};
}

CommandSpec delete_spec() {
  return {.name = "delete",
          .summary = "remove what definitions name: domains, then volumes, then networks",
          .examples = {{"nagaya delete -f site.yaml", "what does not run"}, {"nagaya delete -f site.yaml --force", "also what runs"}},
          .options = {file_option(), {"--force", "", "also what runs"}}};
}

CommandSpec export_spec() {
  return {.name = "export",
          .summary = "print definitions that 'nagaya apply' takes back unchanged",
          .examples = {{"nagaya export web", "of a machine or container"}, {"nagaya export network/lab volume/data web >site.yaml", "of several things"},
                       {"nagaya export -f libvirt web >web.xml", "a machine as a libvirt domain; what has no place in it is told"}},
          .options = {{"-f,--output", "FORMAT", "yaml, json or libvirt (one machine, in XML; default: yaml)", Completes::words, {"yaml", "json", "libvirt"}},
                      {"NAME", "NAME", "a domain, network/NAME or volume/NAME", Completes::nothing, {}, true, true}}};
}

Result<> print_documents(const Parsed& options, const std::vector<Json>& documents, const BootOf& boot) {
  const std::string format = options.last("output");
  if (format == "libvirt") {
    if (documents.size() != 1) return fail("--output libvirt", "a file of libvirt holds one domain", "export them one by one");
    const std::string name = documents[0].value("name", "");
    TRY_ASSIGN(const auto exported, definition::libvirt::write_domain(documents[0], boot ? boot(name) : std::nullopt));
    for (const std::string& line : exported.left_out) std::fprintf(stderr, "%s: left out: %s\n", name.c_str(), line.c_str());
    print(exported.xml);
  } else if (format == "json") {
    print((documents.size() == 1 ? documents[0] : Json(documents)).dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  } else {
    for (std::size_t i = 0; i < documents.size(); ++i) print((i == 0 ? "" : "---\n") + definition::write_yaml(documents[i]));
  }
  return {};
}

void tell_applied(const Json& document, const Json& plan, bool dry_run, bool waits, bool started) {
  const std::string action = plan.value("action", "");
  std::string fields;
  const Json changes = plan.value("changes", Json::array());
  for (const Json& change : changes) {
    if (!waits || change.value("needs", "") != "nothing") fields += (fields.empty() ? "" : ", ") + change.value("field", "");
  }
  std::string said;
  if (action == "create") {
    said = dry_run ? "would be created" : "created";
  } else if (action == "none") {
    said = "unchanged";
  } else if (waits) {
    said = fmt::format("needs {} ({})", action == "recreate" ? "to be made anew, with --recreate" : "a restart, with --restart", fields);
  } else {
    said = fmt::format("{}{} ({})", dry_run ? "would be " : "", action == "recreate" ? "made anew" : action == "restart" ? "configured and restarted" : "configured", fields);
  }
  print(fmt::format("{} {}{}\n", definition::title(document), said, started ? ", started" : ""));
  if (!dry_run) return;
  for (const Json& change : changes) {
    print(fmt::format("  {}: {} -> {}\n", change.value("field", ""), shown(change.value("from", Json())), shown(change.value("to", Json()))));
  }
}

}  // namespace nagaya::cli
