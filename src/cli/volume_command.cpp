#include "cli/volume_command.hpp"

#include <fmt/core.h>

#include <cstdio>

#include "block/create.hpp"
#include "block/open_image.hpp"
#include "block/raw.hpp"
#include "cli/sizes.hpp"
#include "cli/table.hpp"

namespace nagaya::cli {

namespace {

using block::Format;

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

// The words after the action: as many as `names` says, not more.
Result<std::vector<std::string>> words_of(const Parsed& options, const std::vector<std::string>& names) {
  const std::vector<std::string>& given = options.all("ARGUMENT");
  const std::string action = "nagaya volume " + options.last("ACTION");
  if (given.size() < names.size()) return fail(action, fmt::format("{} is missing", names[given.size()]), "see 'nagaya help volume'");
  if (given.size() > names.size()) return fail(action, fmt::format("unexpected argument '{}'", given[names.size()]), "see 'nagaya help volume'");
  return given;
}

Result<Format> stated_format(const Parsed& options, const std::string& key) {
  if (!options.has(key)) return fail(fmt::format("--{} is missing", key), "formats are never guessed", "raw or qcow2");
  return block::parse_format(options.last(key));
}

Result<block::OpenOptions> source(const Parsed& options, const std::string& path, bool read_only) {
  block::OpenOptions out{.path = path, .read_only = read_only, .allowed_backing = options.all("allow-backing")};
  TRY_ASSIGN(out.format, stated_format(options, "format"));
  if (options.has("backing-format")) {
    TRY_ASSIGN(out.backing_format, block::parse_format(options.last("backing-format")));
  }
  return out;
}

// What of a new image does not depend on the action.
Result<block::CreateOptions> target(const Parsed& options, const std::string& path, const std::string& format_key) {
  block::CreateOptions out{.path = path, .allowed_backing = options.all("allow-backing")};
  TRY_ASSIGN(out.format, stated_format(options, format_key));
  if (options.has("cluster-size")) {
    TRY_ASSIGN(out.cluster_size, parse_size(options.last("cluster-size")));
  }
  if (options.has("compression") && options.last("compression") == "zstd") out.compression = block::qcow2::Compression::zstd;
  out.lazy_refcounts = options.has("lazy-refcounts");
  if (out.format == Format::raw && (options.has("cluster-size") || options.has("compression") || out.lazy_refcounts)) {
    return fail("raw images have no clusters, compression or refcounts", "", "take qcow2");
  }
  return out;
}

Result<int> create(const Parsed& options) {
  const bool overlay = options.has("backing");
  std::vector<std::string> names{"FILE"};
  if (!overlay || options.all("ARGUMENT").size() > 1) names.push_back("SIZE");
  TRY_ASSIGN(const auto words, words_of(options, names));
  TRY_ASSIGN(block::CreateOptions make, target(options, words[0], "format"));
  if (words.size() > 1) {
    TRY_ASSIGN(make.size, parse_size(words[1]));
  }
  if (overlay) {
    make.backing_path = options.last("backing");
    TRY_ASSIGN(make.backing_format, stated_format(options, "backing-format"));
  }
  TRY(block::create_image(make));
  return 0;
}

Result<int> info(const Parsed& options) {
  TRY_ASSIGN(const auto words, words_of(options, {"FILE"}));
  TRY_ASSIGN(const block::OpenOptions open, source(options, words[0], true));
  Table table{{"field", "value"}, {}};
  auto row = [&](std::string field, std::string value) { table.rows.push_back({std::move(field), std::move(value)}); };
  row("file", words[0]);
  row("format", std::string(block::format_name(open.format)));
  if (open.format == Format::raw) {
    TRY_ASSIGN(const auto image, block::open_image(open));
    row("size", format_size(image->size()));
    row("disk use", format_size(static_cast<block::RawImage&>(*image).file().allocated()));
  } else if (block::import_only(open.format)) {
    TRY_ASSIGN(const auto image, block::open_image(open));
    row("size", format_size(image->size()));
  } else {
    TRY_ASSIGN(const auto image, block::open_qcow2(open));
    const auto& h = image->header();
    row("size", format_size(image->size()));
    row("disk use", format_size(image->file().allocated()));
    row("version", std::to_string(h.version));
    row("cluster size", format_size(h.cluster_size()));
    row("refcount bits", std::to_string(1u << h.refcount_order));
    row("compression", h.compression == block::qcow2::Compression::zstd ? "zstd" : "zlib");
    row("lazy refcounts", h.compatible & block::qcow2::compatible_lazy_refcounts ? "yes" : "no");
    row("dirty", h.incompatible & block::qcow2::incompatible_dirty ? "yes" : "no");
    row("corrupt", h.incompatible & block::qcow2::incompatible_corrupt ? "yes" : "no");
    if (!h.backing_path.empty()) {
      row("backing file", h.backing_path);
      row("backing format", h.backing_format);
    }
    row("snapshots", std::to_string(image->snapshots().size()));
  }
  print(render(table, options.last("output")));
  return 0;
}

Result<int> check(const Parsed& options) {
  TRY_ASSIGN(const auto words, words_of(options, {"FILE"}));
  const bool repair = options.has("repair");
  TRY_ASSIGN(const block::OpenOptions open, source(options, words[0], !repair));
  if (open.format != Format::qcow2) return fail(fmt::format("cannot check '{}'", words[0]), "only qcow2 images can be checked");
  TRY_ASSIGN(const auto image, block::open_qcow2(open, repair));
  TRY_ASSIGN(const auto report, image->check(repair));
  for (const std::string& message : report.messages) print(message + "\n");
  print(fmt::format("{} corruptions ({} repaired), {} leaked clusters ({} repaired)\n", report.corruptions, report.corruptions_fixed,
                    report.leaks, report.leaks_fixed));
  if (report.corruptions > report.corruptions_fixed) return 2;
  return report.leaks > report.leaks_fixed ? 3 : 0;
}

Result<int> resize(const Parsed& options) {
  TRY_ASSIGN(const auto words, words_of(options, {"FILE", "SIZE"}));
  TRY_ASSIGN(const u64 size, parse_size(words[1]));
  TRY_ASSIGN(const block::OpenOptions open, source(options, words[0], false));
  TRY_ASSIGN(const auto image, block::open_image(open));
  if (size < image->size() && !options.has("shrink")) {
    return fail(fmt::format("cannot resize '{}'", words[0]), "it would lose its end", "--shrink allows it");
  }
  TRY(image->resize(size));
  TRY(image->close());
  return 0;
}

Result<int> convert(const Parsed& options) {
  TRY_ASSIGN(const auto words, words_of(options, {"FILE", "NEW-FILE"}));
  block::ConvertOptions job;
  TRY_ASSIGN(job.from, source(options, words[0], true));
  TRY_ASSIGN(job.to, target(options, words[1], "to-format"));
  job.compress = options.has("compress");
  TRY(block::convert_image(job));
  return 0;
}

// Names come from the file: control characters must not reach a terminal.
std::string shown(const std::string& name) {
  std::string out;
  for (const unsigned char c : name) out += c < ' ' || c == 127 ? '?' : static_cast<char>(c);
  return out;
}

Result<int> snapshot(const Parsed& options) {
  const int changes = options.has("create") + options.has("apply") + options.has("delete");
  if (changes > 1) return fail("nagaya volume snapshot", "more than one of --create, --apply and --delete is given");
  TRY_ASSIGN(const auto words, words_of(options, {"FILE"}));
  TRY_ASSIGN(const block::OpenOptions open, source(options, words[0], changes == 0));
  if (open.format != Format::qcow2) return fail(fmt::format("'{}' has no snapshots", words[0]), "raw images cannot have any");
  TRY_ASSIGN(const auto image, block::open_qcow2(open));
  if (options.has("create")) TRY(image->create_snapshot(options.last("create")));
  if (options.has("apply")) TRY(image->apply_snapshot(options.last("apply")));
  if (options.has("delete")) TRY(image->delete_snapshot(options.last("delete")));
  if (changes == 0) {
    Table table{{"id", "name", "created", "size"}, {}};
    for (const auto& s : image->snapshots()) table.rows.push_back({shown(s.id), shown(s.name), format_time(s.seconds), format_size(s.disk_size)});
    print(render(table, options.last("output")));
  }
  TRY(image->close());
  return 0;
}

Result<int> run(const Parsed& options) {
  const std::string action = options.last("ACTION");
  if (action == "create") return create(options);
  if (action == "info") return info(options);
  if (action == "check") return check(options);
  if (action == "resize") return resize(options);
  if (action == "convert") return convert(options);
  if (action == "snapshot") return snapshot(options);
  return fail("nagaya volume", "no action is named", "create, info, check, resize, convert or snapshot");
}

}  // namespace

CommandSpec volume_command() {
  const std::vector<std::string> formats{"raw", "qcow2"};
  return {
      .name = "volume",
      .summary = "make, examine, mend, resize and convert disk images",
      .examples = {{"nagaya volume create disk.qcow2 20G --format qcow2", "an empty disk that takes space as it fills"},
                   {"nagaya volume create mine.qcow2 --format qcow2 --backing base.qcow2 --backing-format qcow2",
                    "a copy-on-write overlay of base.qcow2"},
                   {"nagaya volume info disk.qcow2 --format qcow2", "sizes, features, backing file"},
                   {"nagaya volume check disk.qcow2 --format qcow2 --repair", "find and mend damage"},
                   {"nagaya volume resize disk.qcow2 40G --format qcow2", "let it grow"},
                   {"nagaya volume convert disk.img disk.qcow2 --format raw --to-format qcow2 --compress", "raw to compressed qcow2"},
                   {"nagaya volume snapshot disk.qcow2 --format qcow2 --create before-upgrade", "keep its present content"}},
      .options = {{"ACTION", "ACTION", "what to do: create, info, check, resize, convert or snapshot", Completes::words,
                   {"create", "info", "check", "resize", "convert", "snapshot"}},
                  {"ARGUMENT", "ARGUMENT", "the image file, then a size (create, resize) or the new file (convert)", Completes::file, {}, false, true},
                  {"--format", "FORMAT", "format of the image, never guessed from its content: raw, qcow2; convert also reads vmdk, vhd, vhdx", Completes::words,
                   {"raw", "qcow2", "vmdk", "vhd", "vhdx"}},
                  {"--to-format", "FORMAT", "convert: format of the new image", Completes::words, formats},
                  {"--backing", "FILE", "create: the image below, as seen from the new image's folder", Completes::file},
                  {"--backing-format", "FORMAT", "format of the backing file where the image does not state it", Completes::words, formats},
                  {"--allow-backing", "PATH", "file or folder outside the image's own folder that may hold backing files", Completes::file, {}, false, true},
                  {"--cluster-size", "SIZE", "new qcow2: a power of two from 512 to 2M (default: 64K)"},
                  {"--compression", "KIND", "new qcow2: kind of its compressed clusters (default: zlib)", Completes::words, {"zlib", "zstd"}},
                  {"--lazy-refcounts", "", "new qcow2: fewer writes; after a crash the next start rebuilds refcounts"},
                  {"--compress", "", "convert: write compressed clusters"},
                  {"--repair", "", "check: mend what can be mended"},
                  {"--shrink", "", "resize: allow a smaller size, which cuts data off"},
                  {"--create", "NAME", "snapshot: keep the present content under this name"},
                  {"--apply", "NAME", "snapshot: go back to this one (name or id)"},
                  {"--delete", "NAME", "snapshot: forget this one (name or id)"},
                  {"-f,--output", "FORMAT", "info, snapshot: table, json, yaml or csv (default: table)", Completes::words, table_formats()}},
      .sections = {{"Exit codes of check", {}, {{"0", "nothing is wrong, or all was mended"}, {"2", "the image is corrupt"}, {"3", "only space is lost"}}}},
      .run = run,
  };
}

}  // namespace nagaya::cli
