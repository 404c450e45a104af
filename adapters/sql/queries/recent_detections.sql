-- recent_detections: what was found lately on the pictures of one device, the newest picture first.
--
-- :device  the device's name, such as cam-17
-- :since   pictures that were captured from this moment on
-- :most    how many detections at most
--
-- Reads the device's pictures backwards along images_device_captured, and of each its detections by
-- detections_image, until there are enough. Rows of removed pictures are among them: their answer stands.
SELECT i.captured_at, i.id AS image_id, i.lakefs_path, i.deleted_at, d.label, d.confidence,
       d.bbox_x1, d.bbox_y1, d.bbox_x2, d.bbox_y2, d.model_name, d.model_version, d.model_digest
FROM images AS i
JOIN detections AS d ON d.image_id = i.id
WHERE i.device_id = (SELECT id FROM devices WHERE device_id = :device)
  AND i.captured_at >= :since
ORDER BY i.captured_at DESC, d.confidence DESC
LIMIT :most
