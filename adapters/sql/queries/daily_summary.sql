-- daily_summary: one row for each device: its pictures of a day, and what was found on them.
--
-- :day_begin  the first moment of the day, in the zone whose days are meant
-- :day_end    the first moment of the next day
--
-- Each part reads, device by device, its piece of images_device_captured, and the detections of these
-- pictures by detections_image. They are subqueries because PostgreSQL would read all detections to join them
-- at once. A device without pictures has a row, too: a camera that is silent is seen.
SELECT v.device_id AS device,
       (SELECT COUNT(*) FROM images AS i
         WHERE i.device_id = v.id AND i.captured_at >= :day_begin AND i.captured_at < :day_end
       ) AS pictures,
       (SELECT COUNT(*) FROM images AS i
         WHERE i.device_id = v.id AND i.captured_at >= :day_begin AND i.captured_at < :day_end
           AND i.has_detections
       ) AS with_detections,
       (SELECT COUNT(*) FROM images AS i
         WHERE i.device_id = v.id AND i.captured_at >= :day_begin AND i.captured_at < :day_end
           AND i.processing_status = 'failed'
       ) AS failed,
       (SELECT COUNT(*) FROM images AS i JOIN detections AS d ON d.image_id = i.id
         WHERE i.device_id = v.id AND i.captured_at >= :day_begin AND i.captured_at < :day_end
       ) AS detections,
       (SELECT MAX(d.confidence) FROM images AS i JOIN detections AS d ON d.image_id = i.id
         WHERE i.device_id = v.id AND i.captured_at >= :day_begin AND i.captured_at < :day_end
       ) AS highest_confidence
FROM devices AS v
ORDER BY v.device_id
