//! A file as the API shows it.

use serde_json::{Value, json};

use super::FOLDER;
use super::fields::Selection;
use super::routes::{Refusal, refuse};
use super::state::{File, State};

/// All fields that a file of version 3 can have, by the discovery document.
pub(super) const FIELDS: [&str; 61] = [
    "kind",
    "id",
    "name",
    "mimeType",
    "description",
    "starred",
    "trashed",
    "explicitlyTrashed",
    "trashingUser",
    "trashedTime",
    "parents",
    "properties",
    "appProperties",
    "spaces",
    "version",
    "webContentLink",
    "webViewLink",
    "iconLink",
    "hasThumbnail",
    "thumbnailLink",
    "thumbnailVersion",
    "viewedByMe",
    "viewedByMeTime",
    "createdTime",
    "modifiedTime",
    "modifiedByMeTime",
    "modifiedByMe",
    "sharedWithMeTime",
    "sharingUser",
    "owners",
    "teamDriveId",
    "driveId",
    "lastModifyingUser",
    "shared",
    "ownedByMe",
    "capabilities",
    "viewersCanCopyContent",
    "copyRequiresWriterPermission",
    "writersCanShare",
    "permissions",
    "permissionIds",
    "hasAugmentedPermissions",
    "folderColorRgb",
    "originalFilename",
    "fullFileExtension",
    "fileExtension",
    "md5Checksum",
    "sha1Checksum",
    "sha256Checksum",
    "size",
    "quotaBytesUsed",
    "headRevisionId",
    "contentHints",
    "imageMediaMetadata",
    "videoMediaMetadata",
    "isAppAuthorized",
    "exportLinks",
    "shortcutDetails",
    "contentRestrictions",
    "resourceKey",
    "labelInfo",
];

/// What is shown where nothing is asked for.
const DEFAULT: &str = "kind,id,name,mimeType";

/// The selection of a file's fields that `fields` stands for.
pub(super) fn selection(fields: Option<&str>) -> Result<Selection, Refusal> {
    let text = fields.unwrap_or(DEFAULT);
    let selection = Selection::parse(text).ok_or_else(|| invalid(text))?;
    check(&selection, &FIELDS)?;
    Ok(selection)
}

/// Refuses a selection with other names than these.
pub(super) fn check(selection: &Selection, known: &[&str]) -> Result<(), Refusal> {
    selection.unknown(known).map_or(Ok(()), |unknown| Err(invalid(unknown)))
}

pub(super) fn invalid(field: &str) -> Refusal {
    refuse(400, "invalidParameter", &format!("Invalid field selection {field}"))
}

/// The whole resource.
pub(super) fn of(state: &State, file: &File) -> Value {
    let is_folder = file.mime_type == FOLDER;
    let mut resource = json!({
        "kind": "drive#file",
        "id": file.id,
        "name": file.name,
        "mimeType": file.mime_type,
        "trashed": state.is_trashed(file),
        "explicitlyTrashed": file.trashed,
        "spaces": ["drive"],
        "version": "1",
        "createdTime": file.created,
        "modifiedTime": file.modified,
        "ownedByMe": file.drive.is_none(),
        "starred": false,
        "shared": false,
        "capabilities": {
            "canAddChildren": is_folder,
            "canDelete": !state.only_trashes,
            "canTrash": true,
            "canDownload": !is_folder,
            "canEdit": true,
            "canListChildren": is_folder,
        },
        "webViewLink": format!("https://drive.google.com/file/d/{}/view", file.id),
    });
    // Numbers of 64 bits are strings in JSON.
    let size = file.content.as_ref().map(|content| content.bytes.len().to_string());
    let optional = [
        ("parents", (!file.parents.is_empty()).then(|| json!(file.parents))),
        ("driveId", file.drive.as_ref().map(|drive| json!(drive))),
        ("teamDriveId", file.drive.as_ref().map(|drive| json!(drive))),
        (
            "appProperties",
            (!file.app_properties.is_empty()).then(|| json!(file.app_properties)),
        ),
        ("quotaBytesUsed", Some(json!(size.clone().unwrap_or_else(|| "0".to_owned())))),
        ("size", size.map(Value::from)),
        ("md5Checksum", file.content.as_ref().map(|content| json!(content.md5))),
        ("sha256Checksum", file.content.as_ref().map(|content| json!(content.sha256))),
        ("headRevisionId", file.content.as_ref().map(|_| json!("0B1"))),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            resource[name] = value;
        }
    }
    resource
}
