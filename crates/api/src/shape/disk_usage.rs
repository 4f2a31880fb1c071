//! Disk usage, whose shape changed as a whole: lists of everything up to 1.51, figures from 1.53, both in 1.52.

use api_types::{DiskUsage, Usage};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Kind, reshape};
use crate::failure::Failure;
use crate::version::Version;

/// Brings disk usage into the shape of a version. `verbose` asks for the things themselves beside the figures.
pub(crate) fn disk_usage(
    usage: DiskUsage,
    version: Version,
    verbose: bool,
) -> Result<Value, Failure> {
    shaped(usage, version, verbose).map_err(|error| {
        Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("cannot write the answer: {error}"),
        )
    })
}

fn shaped(mut usage: DiskUsage, version: Version, verbose: bool) -> serde_json::Result<Value> {
    let mut body = Map::new();
    if version <= Version(51) || (version == Version(52) && !verbose) {
        lists(&usage, version, &mut body)?;
    }
    if version >= Version(52) {
        if !verbose {
            forget_items(&mut usage);
        }
        if let Value::Object(figures) = serde_json::to_value(&usage)? {
            body.extend(figures);
        }
    }
    Ok(Value::Object(body))
}

fn forget_items(usage: &mut DiskUsage) {
    fn forget<T>(usage: &mut Option<Usage<T>>) {
        if let Some(usage) = usage {
            usage.items.clear();
        }
    }
    forget(&mut usage.image_usage);
    forget(&mut usage.container_usage);
    forget(&mut usage.volume_usage);
    forget(&mut usage.build_cache_usage);
}

/// The shape up to 1.51: what was not asked for is `null`.
fn lists(
    usage: &DiskUsage,
    version: Version,
    body: &mut Map<String, Value>,
) -> serde_json::Result<()> {
    fn items<T: Serialize>(usage: &Option<Usage<T>>) -> serde_json::Result<Value> {
        usage
            .as_ref()
            .map_or(Ok(Value::Null), |usage| serde_json::to_value(&usage.items))
    }
    let mut images = items(&usage.image_usage)?;
    reshape(Kind::ImageList, version, &mut images);
    // Containers were always counted here.
    if let (Value::Array(images), Some(newest)) = (&mut images, &usage.image_usage) {
        for (image, newest) in images.iter_mut().zip(&newest.items) {
            image["Containers"] = json!(newest.containers);
        }
    }
    let mut containers = items(&usage.container_usage)?;
    reshape(Kind::ContainerList, version, &mut containers);
    body.insert(
        "LayersSize".into(),
        json!(
            usage
                .image_usage
                .as_ref()
                .map_or(0, |usage| usage.total_size)
        ),
    );
    body.insert("Images".into(), images);
    body.insert("Containers".into(), containers);
    body.insert("Volumes".into(), items(&usage.volume_usage)?);
    let mut cache = items(&usage.build_cache_usage)?;
    if version <= Version(41) && cache == json!([]) {
        cache = Value::Null;
    }
    body.insert("BuildCache".into(), cache);
    if version <= Version(41) {
        body.insert("BuilderSize".into(), json!(0));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use api_types::ImageSummary;

    use super::*;

    fn usage() -> DiskUsage {
        let image = ImageSummary {
            id: "i".into(),
            size: 5,
            containers: 2,
            ..ImageSummary::default()
        };
        DiskUsage {
            image_usage: Some(Usage {
                items: vec![image],
                total_size: 9,
                total_count: 1,
                ..Usage::default()
            }),
            container_usage: Some(Usage::default()),
            ..DiskUsage::default()
        }
    }

    #[test]
    fn lists_up_to_1_51() {
        let body = shaped(usage(), Version(41), false).unwrap();
        assert_eq!(body["LayersSize"], 9);
        assert_eq!(body["Images"][0]["VirtualSize"], 5);
        assert_eq!(body["Images"][0]["Containers"], 2);
        assert_eq!(body["Containers"], json!([]));
        assert_eq!(body["Volumes"], Value::Null);
        assert_eq!(body["BuilderSize"], 0);
        assert_eq!(body.get("ImageUsage"), None);
    }

    #[test]
    fn both_in_1_52() {
        let body = shaped(usage(), Version(52), false).unwrap();
        assert_eq!(body["LayersSize"], 9);
        assert_eq!(body["ImageUsage"], json!({"TotalCount": 1, "TotalSize": 9}));
        let body = shaped(usage(), Version(52), true).unwrap();
        assert_eq!(body.get("LayersSize"), None);
        assert_eq!(body["ImageUsage"]["Items"][0]["Id"], "i");
    }

    #[test]
    fn figures_from_1_53() {
        let body = shaped(usage(), Version(55), false).unwrap();
        assert_eq!(
            body,
            json!({"ImageUsage": {"TotalCount": 1, "TotalSize": 9}, "ContainerUsage": {}})
        );
    }
}
