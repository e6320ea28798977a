"""Writes the table of the items of the API, with the test that shows each: `python tools/api_table.py OUTPUT`.

Fails if a name is not in both APIs, or a test is not there.
"""

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import inhaul
import inhaul.sync

TESTS = Path(__file__).parents[1] / "tests"

# The items of the page, by section: the name of the test file, then the items that each test shows.
ITEMS = {
    "Bases": {
        "Registry": "query::test_first_and_one_return_what_a_query_finds",
        "HasFeatures": "annotation::test_values_come_back_as_they_were",
        "IsVersioned": "versions::test_a_successor_versions_its_predecessor_too",
        "TracksRun": "lineage::test_what_is_made_belongs_to_the_current_run",
        "TracksUpdates": "artifact::test_a_saved_file_has_every_field",
    },
    "Arguments": {
        "data": "arguments::test_data_of_another_type_is_refused",
        "key": "artifact::test_a_key_ends_in_the_suffix_of_what_it_names",
        "description": "artifact::test_an_artifact_needs_a_key_a_run_or_a_description",
        "version": "versions::test_a_version_is_used_once_in_a_family",
        "is_new_version_of": "versions::test_a_successor_versions_its_predecessor_too",
        "run": "lineage::test_what_is_made_belongs_to_the_current_run",
    },
    "Fields": {
        "features": "annotation::test_values_come_back_as_they_were",
        "labels": "labels::test_labels_are_added_once_with_and_without_a_feature",
        "objects": "query::test_what_is_hidden_shows_only_on_request",
        "path": "artifact::test_a_saved_file_has_every_field",
        "stem_uid": "versions::test_a_successor_versions_its_predecessor_too",
        "versions": "versions::test_a_successor_versions_its_predecessor_too",
        "version": "versions::test_a_version_is_used_once_in_a_family",
        "created_at": "artifact::test_a_saved_file_has_every_field",
        "created_by": "artifact::test_a_saved_file_has_every_field",
        "updated_at": "artifact::test_a_saved_file_has_every_field",
        "id": "artifact::test_a_saved_file_has_every_field",
        "uid": "artifact::test_a_saved_file_has_every_field",
        "description": "artifact::test_a_saved_file_has_every_field",
        "storage": "cloud::test_a_bucket_becomes_a_storage_when_an_object_of_it_is_saved",
        "key": "ingest::test_the_key_precedes_the_relative_path",
        "suffix": "formats::test_what_is_in_memory_gets_a_suffix_of_its_format",
        "accessor": "formats::test_tables_load_as_they_were_written",
        "size": "artifact::test_a_saved_file_has_every_field",
        "hash": "ingest::test_every_file_gets_its_row",
        "hash_type": "cloud::test_etags_that_are_no_md5_are_no_hashes",
        "n_objects": "artifact::test_a_folder_can_be_one_artifact_of_its_regular_files",
        "n_observations": "artifact::test_a_table_in_memory_is_stored_as_parquet",
        "transform": "lineage::test_what_is_made_belongs_to_the_current_run",
        "run": "lineage::test_what_is_made_belongs_to_the_current_run",
        "visibility": "query::test_what_is_hidden_shows_only_on_request",
        "key_is_virtual": "artifact::test_a_real_key_is_the_place_of_the_object",
        "ulabels": "labels::test_artifacts_are_found_by_label",
        "input_of": "lineage::test_what_is_used_is_an_input_of_the_current_run",
        "previous_runs": "artifact::test_runs_that_meet_an_artifact_again_are_its_previous_runs",
        "feature_sets": "feature_sets::test_a_feature_set_is_linked_by_slot",
        "feature_values": "feature_sets::test_feature_values_are_records",
    },
    "Verbs": {
        "backed": "backed::test_an_anndata_on_s3_is_read_in_part",
        "cache": "cloud::test_a_copy_in_the_cache_needs_no_server",
        "delete": "artifact::test_deleting_what_is_in_the_trash_is_for_good",
        "filter": "query::test_each_lookup_finds_what_it_says",
        "from_anndata": "measured::test_features_are_checked_and_linked",
        "from_df": "measured::test_features_are_checked_and_linked",
        "from_dir": "ingest::test_every_file_gets_its_row",
        "from_mudata": "measured::test_features_are_checked_and_linked",
        "get": "query::test_a_record_is_got_by_its_id_or_uid",
        "load": "formats::test_tables_load_as_they_were_written",
        "replace": "replacing::test_an_artifact_stays_itself_with_new_content",
        "restore": "artifact::test_what_is_in_the_trash_is_hidden_until_it_is_restored",
        "save": "artifact::test_a_saved_file_has_every_field",
    },
    "Formats": {
        "table": "formats::test_tables_load_as_they_were_written",
        "annotated matrix": "formats::test_an_h5ad_file_of_scanpy_loads_as_anndata_reads_it",
        "generic array": "formats::test_other_zarr_stores_load_read_only",
        "image": "formats::test_images_load_as_scikit_learn_and_scikit_image_read_them",
        "Fastq, VCF, QC": "formats::test_what_nothing_loads_is_a_path",
    },
    "Examples": {"as they are printed": "examples::test_examples_of_the_page_run_as_printed"},
}
CONSTRUCTED = {"Bases", "Formats", "Examples"}  # not attributes of an artifact


def has(api: Any, section: str, name: str) -> bool:
    """Whether an API has an item."""
    if section in CONSTRUCTED:
        return section != "Bases" or name in {base.__name__.lstrip("_") for base in api.Artifact.__mro__}
    if section == "Arguments":
        return name in inspect.signature(api.Artifact).parameters
    return hasattr(api.Artifact, name)


def place(test: str) -> str | None:
    """Returns the path and the name of a test, or None if there is no such test."""
    file, _, name = test.partition("::")
    for path in TESTS.rglob(f"test_{file}.py"):
        if re.search(rf"^(async )?def {name}\(", path.read_text(), re.MULTILINE):
            return f"{path.relative_to(TESTS.parent)}::{name}"
    return None


def names(section: str, name: str) -> tuple[str, str]:
    """Returns the name of the item in the async API and in the blocking one."""
    if section in CONSTRUCTED:
        return name, name
    if section == "Arguments":
        argument = name if name == "data" else f"{name}="
        return f"Artifact({argument})", f"Artifact({argument})"
    waits = section == "Verbs" and name != "filter" and not name.startswith("from_")
    return f"{'await ' if waits else ''}Artifact.{name}", f"Artifact.{name}"


def main() -> None:
    lines = ["# Item by item", "", "What an artifact has, in both APIs, and the test that shows it."]
    wrong = []
    for section, items in ITEMS.items():
        lines += ["", f"## {section}", "", "| item | `inhaul` | `inhaul.sync` | test |", "|---|---|---|---|"]
        for name, test in items.items():
            wrong += [f"{api.__name__} has no {name}" for api in (inhaul, inhaul.sync) if not has(api, section, name)]
            shown_by = place(test)
            wrong += [] if shown_by else [f"there is no test {test}"]
            first, second = names(section, name)
            lines.append(f"| {name} | `{first}` | `{second}` | `{shown_by}` |")
    if wrong:
        sys.exit("\n".join(wrong))
    Path(sys.argv[1]).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
